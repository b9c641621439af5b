package disk

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseLogrotate(t *testing.T) {
	global := false
	r := parseLogrotate("f", []byte(`# see "man logrotate"
weekly
copytruncate
include /etc/logrotate.d

/var/log/a.log /var/log/b.log {
	nocopytruncate
	postrotate
		echo copytruncate }
	endscript
}
"/var/log/with blank.log"
'/var/log/c*.log'
{
	rotate 4
}
/one/line { rotate 3 nocopytruncate }
nocopytruncate
/last { copytruncate
`), &global)
	if global || !slices.Equal(r.includes, []string{"/etc/logrotate.d"}) {
		t.Errorf("global %v, includes %v", global, r.includes)
	}
	want := []stanza{
		{"f", 6, []string{"/var/log/a.log", "/var/log/b.log"}, false},
		{"f", 14, []string{"/var/log/with blank.log", "/var/log/c*.log"}, true},
		{"f", 17, []string{"/one/line"}, false},
		{"f", 19, []string{"/last"}, true},
	}
	if len(r.stanzas) != len(want) {
		t.Fatalf("got %+v", r.stanzas)
	}
	for i, w := range want {
		g := r.stanzas[i]
		if g.line != w.line || !slices.Equal(g.patterns, w.patterns) || g.copytruncate != w.copytruncate {
			t.Errorf("stanza %d: %+v, want %+v", i, g, w)
		}
	}
	if !want[1].manages("/var/log/core.log") || want[1].manages("/var/log/c/x.log") {
		t.Error("patterns match as glob(7)")
	}
}

func TestReadLogrotate(t *testing.T) {
	host := files{
		"/etc/logrotate.conf":           "copytruncate\ninclude /etc/logrotate.d\n",
		"/etc/logrotate.d/nginx":        "/var/log/nginx/*.log { daily }",
		"/etc/logrotate.d/old.dpkg-old": "/var/log/old { daily }",
		"/etc/logrotate.d/rsyslog":      "nocopytruncate\n/var/log/syslog {\n}\ninclude /etc/app.d\n",
		"/etc/app.d/a":                  "/var/log/app[!0-9].log {\n}\ninclude /etc/app.d\n", // in a circle
	}
	got := readLogrotate(host.read, host.list)
	if len(got) != 3 || !got[2].manages("/var/log/appx.log") || got[2].manages("/var/log/app1.log") {
		t.Fatalf("%+v", got)
	}
	if !got[0].copytruncate || got[1].copytruncate || got[0].file != "/etc/logrotate.d/nginx" {
		t.Errorf("%+v", got)
	}
}

func TestReadJournald(t *testing.T) {
	host := files{
		"/etc/systemd/journald.conf":                     "[Journal]\n#SystemMaxUse=\nStorage = persistent\n[Other]\nSystemMaxUse=9G\n",
		"/usr/lib/systemd/journald.conf":                 "[Journal]\nStorage=volatile\n",
		"/usr/lib/systemd/journald.conf.d/10-a.conf":     "[Journal]\nSystemMaxUse=1G\n",
		"/etc/systemd/journald.conf.d/20-b.conf":         "[Journal]\nSystemMaxUse=2G\n",
		"/etc/systemd/journald.conf.d/10-a.conf":         "; masked\n",
		"/run/systemd/journald.conf.d/30-unrelated.text": "[Journal]\nSystemMaxUse=3G\n",
	}
	got := readJournald(host.read, host.list)
	if got["SystemMaxUse"] != "2G" || got["Storage"] != "persistent" {
		t.Errorf("%v", got)
	}
}

func TestFindings(t *testing.T) {
	good := defaultKubelet()
	good.LogMaxWorkers, good.LogMonitorInterval = 4, 3
	disk := func(path string, roles ...Role) Filesystem {
		return Filesystem{Path: path, Source: "/dev/x", State: StateOK, SizeBytes: 100 << 30, AvailBytes: 50 << 30, Roles: roles}
	}
	with := func(change func(*hostConf, *[]Filesystem)) (hostConf, []Filesystem) {
		k := good
		c := hostConf{
			kubelet: &k, journald: map[string]string{"SystemMaxUse": "1G"},
			docker:  &dockerConfig{LogDriver: "json-file", LogOpts: map[string]string{"max-size": "10m"}},
			rotated: []stanza{{file: "f", patterns: []string{"/a"}}},
		}
		all := []Filesystem{disk("/", RoleLogs, RoleKubelet)}
		change(&c, &all)
		return c, all
	}
	for want, change := range map[string]func(*hostConf, *[]Filesystem){
		"":                        func(*hostConf, *[]Filesystem) {},
		FindingKubeletOvershoot:   func(c *hostConf, _ *[]Filesystem) { *c.kubelet = defaultKubelet() },
		FindingKubeletRotationOff: func(c *hostConf, _ *[]Filesystem) { c.kubelet.LogMaxSizeBytes = -1 },
		FindingLogsUnwatched: func(_ *hostConf, all *[]Filesystem) {
			*all = []Filesystem{disk("/", RoleKubelet), disk("/var/log", RoleLogs)}
		},
		FindingJournalUnbudgeted: func(c *hostConf, _ *[]Filesystem) { c.journald = map[string]string{} },
		FindingCopyTruncate:      func(c *hostConf, _ *[]Filesystem) { c.rotated[0].copytruncate = true },
		FindingDockerUnbounded:   func(c *hostConf, _ *[]Filesystem) { c.docker.LogOpts = nil },
		FindingReservedBlocks:    func(_ *hostConf, all *[]Filesystem) { (*all)[0].ReservedBytes = 5 << 30 },
	} {
		got := findings(with(change))
		if want == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].Reason != want || got[0].Message == "" || got[0].Do == "" || got[0].Severity == "" {
			t.Errorf("%s: %+v", want, got)
		}
	}
	// A host without any of them has nothing to be told.
	if got := findings(hostConf{}, []Filesystem{disk("/var/log", RoleLogs)}); len(got) != 0 {
		t.Errorf("a plain host: %+v", got)
	}
}

// This machine's own files are understood.
func TestReadHost(t *testing.T) {
	o := observer(t, "/", DefaultPolicy())
	for _, s := range o.readHost(nil).rotated {
		if len(s.patterns) == 0 || !path.IsAbs(s.patterns[0]) {
			t.Errorf("%+v", s)
		}
	}
}

// Whatever the file says: no pattern without a block, scripts are no
// directives, and what is put after it is still read.
func FuzzLogrotate(f *testing.F) {
	f.Add("/a {\ncopytruncate\n}\n")
	f.Add("{\n{\n}\n\"")
	f.Fuzz(func(t *testing.T, s string) {
		global := false
		r := parseLogrotate("f", []byte(s), &global)
		if n := strings.Count(s, "{"); len(r.stanzas) > n {
			t.Fatalf("%d stanzas from %d braces", len(r.stanzas), n)
		}
		lines := strings.Count(s, "\n") + 1
		for _, x := range r.stanzas {
			if x.line < 1 || x.line > lines {
				t.Fatalf("line %d of %d", x.line, lines)
			}
		}
	})
}

// A setting at the end of the file always counts.
func FuzzJournald(f *testing.F) {
	f.Add("[Journal]\nSystemMaxUse=1G\n")
	f.Fuzz(func(t *testing.T, s string) {
		values := map[string]string{}
		parseUnitConf([]byte(s+"\n[Journal]\nSystemMaxUse=7G\n"), "Journal", values)
		if values["SystemMaxUse"] != "7G" {
			t.Fatalf("%q", values["SystemMaxUse"])
		}
	})
}

func FuzzDocker(f *testing.F) {
	f.Add([]byte(`{"log-driver":"local","log-opts":{"max-size":"1m"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseDocker(b)
		if err != nil && (c.LogDriver != "" || c.LogOpts != nil) {
			t.Fatalf("%+v with %v", c, err)
		}
	})
}

// What a pod does not see is said, and nothing is assumed of it.
func TestFindingsOfWhatIsNotSeen(t *testing.T) {
	logs := Filesystem{Path: "/var/log", Source: "/dev/x", State: StateOK, SizeBytes: 100 << 30, AvailBytes: 50 << 30, Roles: []Role{RoleLogs}}
	both := logs
	both.Roles = []Role{RoleLogs, RoleKubelet}
	unread := defaultKubelet()
	unread.Error = "permission denied"
	seen := defaultKubelet()
	seen.LogMaxWorkers = 4
	for name, tt := range map[string]struct {
		conf hostConf
		fs   Filesystem
		path string
	}{
		"/etc":                  {hostConf{etc: os.ErrNotExist}, both, "/etc"},
		"kubelet configuration": {hostConf{kubelet: &unread}, both, unread.Config},
		"kubelet directory":     {hostConf{kubelet: &seen}, logs, "/var/lib/kubelet"},
	} {
		got := findings(tt.conf, []Filesystem{tt.fs})
		if len(got) != 1 || got[0].Reason != FindingNotSeen || got[0].Path != tt.path || got[0].Severity != SeverityInfo {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The kubelet's directory is not mounted in a pod, but its filesystem may be
// that of the logs.
func TestMark(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "kubelet"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	host := hostRoot(root.Fd())
	places := []place{{path: "/kubelet", role: RoleKubelet}, {path: "/containerd", role: RoleRuntime}, {path: "/logs", role: RoleLogs}}
	all := []Filesystem{{Path: "/logs", Device: host.device("/"), Paths: []string{"/logs"}}, {Path: "/other", Device: "0:0"}}
	markRoles(host, places, all)
	if !slices.Equal(all[0].Roles, []Role{RoleKubelet}) || all[1].Roles != nil {
		t.Errorf("got %+v", all)
	}
}

// What keeps the mode from being carried out is said before anything is due.
func TestFindingsOfMissingGrants(t *testing.T) {
	for name, tt := range map[string]struct {
		conf hostConf
		want string // in the message; "" for no finding
	}{
		"observe":   {hostConf{mode: Observe, lacks: []string{"CAP_LEASE"}, readOnly: []string{"/var/log"}}, ""},
		"all there": {hostConf{mode: Assist}, ""},
		"lease":     {hostConf{mode: Assist, lacks: []string{"CAP_LEASE"}}, "without CAP_LEASE:"},
		"read-only": {hostConf{mode: Own, readOnly: []string{"/var/log"}}, "/var/log is mounted read-only here"},
	} {
		got := findings(tt.conf, nil)
		if tt.want == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].Reason != FindingCannotAct || !strings.Contains(got[0].Message, tt.want) || got[0].Do == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
