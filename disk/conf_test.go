package disk

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// logrotateOf reads one file as logrotate's main configuration.
func logrotateOf(s string) logrotateConf {
	return readLogrotate(files{"/etc/logrotate.conf": s}.files())
}

func TestParseLogrotate(t *testing.T) {
	r := logrotateOf(`# see "man logrotate"
weekly
copytruncate

/var/log/a.log /var/log/b.log {
	nocopytruncate
	postrotate
		echo copytruncate }
	endscript
}
"/var/log/with blank.log"
# between them
'/var/log/c*.log'
{
	rotate 4
	size=100k
}
/one/line { daily nocopytruncate }
nocopytruncate
/comment { # copytruncate postrotate
	compress # copytruncate
}
/wrong { rotate 3 copytruncate }
	maxsize 1G
}
/bad/weekly {
	maxsize 1M
	weekly 9
}
/never/read {
}
`)
	want := []stanza{
		{line: 5, patterns: []string{"/var/log/a.log", "/var/log/b.log"}, rotation: rotation{every: "weekly"}},
		{line: 11, patterns: []string{"/var/log/with blank.log", "/var/log/c*.log"}, rotation: rotation{every: "size", size: 100 << 10, copytruncate: true}},
		{line: 18, patterns: []string{"/one/line"}, rotation: rotation{every: "daily"}},
		{line: 20, patterns: []string{"/comment"}, rotation: rotation{every: "weekly"}},
		{line: 23, patterns: []string{"/wrong"}, rotation: rotation{every: "weekly"}, skipped: "a directive in it is wrong"},
		{line: 26, patterns: []string{"/bad/weekly"}, rotation: rotation{every: "weekly", maxsize: 1 << 20}, skipped: "logrotate reads no further in this file"},
	}
	if len(r.stanzas) != len(want) {
		t.Fatalf("got %+v", r.stanzas)
	}
	for i, w := range want {
		g := r.stanzas[i]
		if w.every != "size" {
			w.size = defaultRotation.size
		}
		if g.line != w.line || !slices.Equal(g.patterns, w.patterns) || g.rotation != w.rotation || g.skipped != w.skipped {
			t.Errorf("stanza %d: %+v, want %+v", i, g, w)
		}
	}
	if len(r.problems) != 2 || !strings.Contains(r.problems[0].message, "/etc/logrotate.conf:23: rotate needs a number") || !strings.Contains(r.problems[1].message, ":28: bad weekly") {
		t.Errorf("problems %+v", r.problems)
	}
	if !want[1].manages("/var/log/core.log") || want[1].manages("/var/log/c/x.log") {
		t.Error("patterns match as glob(7)")
	}
}

func TestReadLogrotate(t *testing.T) {
	host := files{
		"/etc/logrotate.conf":           "copytruncate\ntabooext + .mine\ninclude /etc/logrotate.d\n/in/main {\n}\n",
		"/etc/logrotate.d/nginx":        "/var/log/nginx/*.log { \n daily\n}",
		"/etc/logrotate.d/old.dpkg-old": "/var/log/old {\n daily\n}",
		"/etc/logrotate.d/a.mine":       "/var/log/mine {\n daily\n}",
		"/etc/logrotate.d/rsyslog":      "nocopytruncate\n/var/log/syslog {\n}\ninclude /etc/app.d\n",
		"/etc/logrotate.d/sub/x":        "/var/log/sub {\n}\n", // one level only
		"/etc/logrotate.d/wrong":        "copytruncate\n/var/log/wrong {\n}\n}\n",
		"/etc/app.d/a":                  "/var/log/app[!0-9].log {\n include /etc/common\n}\n",
		"/etc/app.d/b":                  "include /etc/app.d\n", // in a circle
		"/etc/common":                   "maxsize 5M\n",
	}
	got := readLogrotate(host.files())
	var paths []string
	for _, s := range got.stanzas[:3] {
		paths = append(paths, s.some())
	}
	if !slices.Equal(paths, []string{"/var/log/nginx/*.log", "/var/log/syslog", "/var/log/app[!0-9].log"}) {
		t.Fatalf("%+v", got)
	}
	if !got.stanzas[2].manages("/var/log/appx.log") || got.stanzas[2].manages("/var/log/app1.log") || got.stanzas[2].maxsize != 5<<20 {
		t.Errorf("%+v", got.stanzas[2])
	}
	if !got.stanzas[0].copytruncate || got.stanzas[1].copytruncate || got.stanzas[0].file != "/etc/logrotate.d/nginx" {
		t.Errorf("%+v", got.stanzas)
	}
	// What a file with an error sets does not outlive it.
	last := got.stanzas[len(got.stanzas)-1]
	if last.some() != "/in/main" || !last.copytruncate || last.file != "/etc/logrotate.conf" {
		t.Errorf("%+v", last)
	}
	for _, s := range got.stanzas {
		if s.manages("/var/log/old") || s.manages("/var/log/mine") || s.manages("/var/log/sub") {
			t.Errorf("%+v is read", s)
		}
	}
	if len(got.problems) == 0 {
		t.Error("an include in a circle and a brace too many are not reported")
	}
}

func TestReadJournald(t *testing.T) {
	host := files{
		"/etc/systemd/journald.conf":                     "[Journal]\n#SystemMaxUse=\nnonsense\nStorage = persistent\n[Other]\nSystemMaxUse=9G\n",
		"/usr/lib/systemd/journald.conf":                 "[Journal]\nStorage=volatile\n",
		"/usr/lib/systemd/journald.conf.d/10-a.conf":     "[Journal]\nSystemMaxUse=1G\n",
		"/etc/systemd/journald.conf.d/20-b.conf":         "[Journal]\nSystemMaxUse= \\\n# between\n2G\n",
		"/etc/systemd/journald.conf.d/10-a.conf":         "; masked\n",
		"/run/systemd/journald.conf.d/30-unrelated.text": "[Journal]\nSystemMaxUse=3G\n",
	}
	got, problems := readSystemdConf(host.files(), "journald.conf", "Journal")
	if got["SystemMaxUse"] != "2G" || got["Storage"] != "persistent" || problems != nil {
		t.Errorf("%v, %v", got, problems)
	}
}

// The setting that a finding names has an effect where the journal is.
func TestJournalBudget(t *testing.T) {
	const id = "3a1b7c0e000040008000000000000001"
	for name, tt := range map[string]struct {
		host files
		want []string // what each finding advises, in order
	}{
		"auto, in /run":            {files{"/run/log/journal/" + id + "/x": ""}, []string{"RuntimeMaxUse="}},
		"auto, bounded in /run":    {files{"/run/log/journal/" + id + "/x": "", "/etc/systemd/journald.conf": "[Journal]\nRuntimeMaxUse=64M\n"}, nil},
		"auto, the wrong key":      {files{"/run/log/journal/" + id + "/x": "", "/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=64M\n"}, []string{"RuntimeMaxUse="}},
		"auto, in /var":            {files{"/var/log/journal/" + id + "/x": "", "/run/log/journal/x": ""}, []string{"SystemMaxUse="}},
		"volatile beside old ones": {files{"/var/log/journal/" + id + "/x": "", "/run/log/journal/x": "", "/etc/systemd/journald.conf": "[Journal]\nStorage=volatile\n"}, []string{"RuntimeMaxUse="}},
		"volatile in a drop-in":    {files{"/run/log/journal/x": "", "/usr/lib/systemd/journald.conf.d/9.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n"}, nil},
		"none":                     {files{"/var/log/journal/x": "", "/etc/systemd/journald.conf": "[Journal]\nStorage=none\n"}, nil},
		"persistent":               {files{"/var/log/journal/x": "", "/run/systemd/journald.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=1.5G\n"}, nil},
		"no size":                  {files{"/var/log/journal/x": "", "/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=lots\n"}, []string{"SystemMaxUse="}},
		"no journal":               {files{"/var/log/syslog": "x"}, nil},
		"a namespace": {files{
			"/var/log/journal/" + id + "/x": "", "/var/log/journal/" + id + ".noisy/x": "", "/var/log/journal/" + id + ".quiet/x": "",
			"/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=1G\n", "/etc/systemd/journald@quiet.conf": "[Journal]\nSystemMaxUse=1G\n",
		}, []string{"journald@noisy"}},
	} {
		journals, problems := readJournals(tt.host.files(), func(string) bool { return false })
		var got []string
		for _, j := range journals {
			if f, ok := unbudgetedJournal(j); ok {
				got = append(got, f.Do)
			}
		}
		if len(got) != len(tt.want) || problems != nil {
			t.Errorf("%s: %q, %v", name, got, problems)
			continue
		}
		for i, w := range tt.want {
			if !strings.Contains(got[i], w) || w != "SystemMaxUse=" && w != "journald@noisy" && strings.Contains(got[i], "SystemMaxUse") {
				t.Errorf("%s: %q, want %s", name, got[i], w)
			}
		}
	}
}

func TestReadDocker(t *testing.T) {
	for name, tt := range map[string]struct {
		file, cmdline string
		root, driver  string
		size          string
		wrong         bool
	}{
		"nothing":        {"", "", "/var/lib/docker", "json-file", "", false},
		"an empty file":  {" ", "", "/var/lib/docker", "json-file", "", false},
		"data-root":      {`{"data-root":"/mnt/d/"}`, "dockerd", "/mnt/d", "json-file", "", false},
		"graph":          {`{"graph":"/mnt/g"}`, "dockerd", "/mnt/g", "json-file", "", false},
		"by flag":        {"{}", "/usr/bin/dockerd -H fd:// --data-root=/mnt/f --log-opt max-size=9m", "/mnt/f", "json-file", "9m", false},
		"by a short one": {"{}", "dockerd -g /mnt/f --log-driver=local --log-opt=max-size=8m", "/mnt/f", "local", "8m", false},
		"relative":       {`{"data-root":"../x"}`, "", "/x", "json-file", "", false},
		"broken":         {`{"data-root":`, "dockerd --data-root /mnt/f", "/mnt/f", "", "", true},
		"types":          {`{"log-opts":{"max-size":10}}`, "", "/var/lib/docker", "", "", true},
		"a comma":        {`{"log-driver":"local",}`, "", "/var/lib/docker", "", "", true},
	} {
		host := files{}
		if tt.file != "" {
			host["/etc/docker/daemon.json"] = tt.file
		}
		c, file, err := readDocker(host.files(), cmdlineOf(tt.cmdline))
		if c.DataRoot != tt.root || c.LogDriver != tt.driver || c.LogOpts["max-size"] != tt.size || (err != nil) != tt.wrong || file != dockerConf {
			t.Errorf("%s: %+v, %s, %v", name, c, file, err)
		}
	}
	c, file, err := readDocker(files{"/d.json": `{"data-root":"/d"}`}.files(), cmdlineOf("dockerd --config-file /d.json"))
	if c.DataRoot != "/d" || file != "/d.json" || err != nil {
		t.Errorf("another file: %+v, %s, %v", c, file, err)
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
			kubelet: &k, journals: []journalConf{{dir: persistentJournal, values: map[string]string{"SystemMaxUse": "1G"}}},
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
		FindingJournalUnbudgeted: func(c *hostConf, _ *[]Filesystem) { c.journals[0].values = nil },
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

// Whatever the file says: no pattern without a block, lines are those of the
// file, and a file that is read by itself after it is not changed.
func FuzzLogrotate(f *testing.F) {
	f.Add("/a {\ncopytruncate\n}\n")
	f.Add("{\n{\n}\n\"")
	f.Add("/a {\npostrotate\n}\nendscript\n}\nsize 5\n/b {\n")
	f.Add("/a {\nrotate x\n}\ninclude /etc/logrotate.d\ntabooext + x")
	f.Fuzz(func(t *testing.T, s string) {
		r := readLogrotate(files{"/etc/logrotate.conf": "include /first\ninclude /second\n", "/first": s, "/second": "/z/*.log {\nsize 7k\nnocopytruncate\n}\n"}.files())
		lines, found := strings.Count(s, "\n")+1, false
		for _, x := range r.stanzas {
			if x.file == "/second" {
				found = true
				if !x.manages("/z/a.log") || x.size != 7<<10 || x.every != "size" || x.copytruncate {
					t.Fatalf("%+v", x)
				}
				continue
			}
			if x.line < 1 || x.line > lines || x.file != "/first" {
				t.Fatalf("line %d of %d in %s", x.line, lines, x.file)
			}
		}
		if n := strings.Count(s, "{"); len(r.stanzas) > n+1 {
			t.Fatalf("%d stanzas from %d braces", len(r.stanzas), n)
		}
		if !found && !strings.Contains(s, "/second") && !strings.Contains(s, "taboo") && !strings.Contains(s, "/first") {
			t.Fatalf("the file after it is not read: %+v", r)
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
