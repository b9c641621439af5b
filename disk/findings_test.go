package disk

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/hostfstest"
)

// The setting that a finding names has an effect where the journal is.
func TestJournalBudget(t *testing.T) {
	const id = "3a1b7c0e000040008000000000000001"
	for name, tt := range map[string]struct {
		host hostfstest.Files
		want []string // what each finding advises, in order
	}{
		"auto, in /run":            {hostfstest.Files{"/run/log/journal/" + id + "/x": ""}, []string{"RuntimeMaxUse="}},
		"auto, bounded in /run":    {hostfstest.Files{"/run/log/journal/" + id + "/x": "", "/etc/systemd/journald.conf": "[Journal]\nRuntimeMaxUse=64M\n"}, nil},
		"auto, the wrong key":      {hostfstest.Files{"/run/log/journal/" + id + "/x": "", "/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=64M\n"}, []string{"RuntimeMaxUse="}},
		"auto, in /var":            {hostfstest.Files{"/var/log/journal/" + id + "/x": "", "/run/log/journal/x": ""}, []string{"SystemMaxUse="}},
		"volatile beside old ones": {hostfstest.Files{"/var/log/journal/" + id + "/x": "", "/run/log/journal/x": "", "/etc/systemd/journald.conf": "[Journal]\nStorage=volatile\n"}, []string{"RuntimeMaxUse="}},
		"volatile in a drop-in":    {hostfstest.Files{"/run/log/journal/x": "", "/usr/lib/systemd/journald.conf.d/9.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n"}, nil},
		"none":                     {hostfstest.Files{"/var/log/journal/x": "", "/etc/systemd/journald.conf": "[Journal]\nStorage=none\n"}, nil},
		"persistent":               {hostfstest.Files{"/var/log/journal/x": "", "/run/systemd/journald.conf": "[Journal]\nStorage=persistent\nSystemMaxUse=1.5G\n"}, nil},
		"no size":                  {hostfstest.Files{"/var/log/journal/x": "", "/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=lots\n"}, []string{"SystemMaxUse="}},
		"no journal":               {hostfstest.Files{"/var/log/syslog": "x"}, nil},
		"a namespace": {hostfstest.Files{
			"/var/log/journal/" + id + "/x": "", "/var/log/journal/" + id + ".noisy/x": "", "/var/log/journal/" + id + ".quiet/x": "",
			"/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=1G\n", "/etc/systemd/journald@quiet.conf": "[Journal]\nSystemMaxUse=1G\n",
		}, []string{"journald@noisy"}},
	} {
		journals, problems := hostconfig.ReadJournals(tt.host.Files(), func(string) bool { return false })
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

func TestFindings(t *testing.T) {
	good := hostconfig.DefaultKubelet()
	good.LogMaxWorkers, good.LogMonitorInterval = 4, 3
	disk := func(path string, roles ...filesystem.Role) filesystem.Filesystem {
		return filesystem.Filesystem{Path: path, Source: "/dev/x", State: filesystem.StateOK, SizeBytes: 100 << 30, AvailBytes: 50 << 30, Roles: roles}
	}
	with := func(change func(*hostConf, *[]filesystem.Filesystem)) (hostConf, []filesystem.Filesystem) {
		k := good
		c := hostConf{
			kubelet: &k, journals: []hostconfig.JournalConf{{Dir: hostconfig.PersistentJournal, Values: map[string]string{"SystemMaxUse": "1G"}}},
			docker:  &hostconfig.Docker{LogDriver: "json-file", LogOpts: map[string]string{"max-size": "10m"}},
			rotated: []hostconfig.LogrotateStanza{{File: "f", Patterns: []string{"/a"}}},
		}
		all := []filesystem.Filesystem{disk("/", filesystem.RoleLogs, filesystem.RoleKubelet)}
		change(&c, &all)
		return c, all
	}
	for want, change := range map[string]func(*hostConf, *[]filesystem.Filesystem){
		"":                        func(*hostConf, *[]filesystem.Filesystem) {},
		FindingKubeletOvershoot:   func(c *hostConf, _ *[]filesystem.Filesystem) { *c.kubelet = hostconfig.DefaultKubelet() },
		FindingKubeletRotationOff: func(c *hostConf, _ *[]filesystem.Filesystem) { c.kubelet.LogMaxSizeBytes = -1 },
		FindingLogsUnwatched: func(_ *hostConf, all *[]filesystem.Filesystem) {
			*all = []filesystem.Filesystem{disk("/", filesystem.RoleKubelet), disk("/var/log", filesystem.RoleLogs)}
		},
		FindingJournalUnbudgeted: func(c *hostConf, _ *[]filesystem.Filesystem) { c.journals[0].Values = nil },
		FindingCopyTruncate:      func(c *hostConf, _ *[]filesystem.Filesystem) { c.rotated[0].Copytruncate = true },
		FindingDockerUnbounded:   func(c *hostConf, _ *[]filesystem.Filesystem) { c.docker.LogOpts = nil },
		FindingReservedBlocks:    func(_ *hostConf, all *[]filesystem.Filesystem) { (*all)[0].ReservedBytes = 5 << 30 },
	} {
		got := findings(with(change))
		if want == "" && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0].Reason != want || got[0].Message == "" || got[0].Do == "" || got[0].Severity == "" {
			t.Errorf("%s: %+v", want, got)
		}
	}
	// A host without any of them has no findings.
	if got := findings(hostConf{}, []filesystem.Filesystem{disk("/var/log", filesystem.RoleLogs)}); len(got) != 0 {
		t.Errorf("a plain host: %+v", got)
	}
}

// This machine's own files are understood.
func TestReadHost(t *testing.T) {
	o := observer(t, "/", DefaultPolicy())
	for _, s := range o.readHost(nil).rotated {
		if len(s.Patterns) == 0 || !path.IsAbs(s.Patterns[0]) {
			t.Errorf("%+v", s)
		}
	}
}

// nodetune reports what a pod does not see, and assumes nothing about it.
func TestFindingsOfWhatIsNotSeen(t *testing.T) {
	logs := filesystem.Filesystem{Path: "/var/log", Source: "/dev/x", State: filesystem.StateOK, SizeBytes: 100 << 30, AvailBytes: 50 << 30, Roles: []filesystem.Role{filesystem.RoleLogs}}
	both := logs
	both.Roles = []filesystem.Role{filesystem.RoleLogs, filesystem.RoleKubelet}
	unread := hostconfig.DefaultKubelet()
	unread.Error = "permission denied"
	seen := hostconfig.DefaultKubelet()
	seen.LogMaxWorkers = 4
	for name, tt := range map[string]struct {
		conf hostConf
		fs   filesystem.Filesystem
		path string
	}{
		"/etc":                  {hostConf{etc: os.ErrNotExist}, both, "/etc"},
		"kubelet configuration": {hostConf{kubelet: &unread}, both, unread.Config},
		"kubelet directory":     {hostConf{kubelet: &seen}, logs, "/var/lib/kubelet"},
	} {
		got := findings(tt.conf, []filesystem.Filesystem{tt.fs})
		if len(got) != 1 || got[0].Reason != FindingNotSeen || got[0].Path != tt.path || got[0].Severity != SeverityInfo {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// nodetune reports what keeps it from carrying out the mode before anything is due.
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
