package sysctld

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/sysctl"
)

const instances = "fs.inotify.max_user_instances"

// A persistCase is what other files hold, and what becomes of the floor 8192
// for fs.inotify.max_user_instances.
type persistCase struct {
	name      string
	files     map[string]string
	write     sysctl.Value // Unknown: left out
	reason    string
	overrides []Loader // whose winner still breaks the floor
}

var persistCases = []persistCase{
	{name: "no other file", write: 8192},
	{name: "another file gives enough", files: map[string]string{
		"/usr/lib/sysctl.d/10-a.conf": "\n" + instances + " = 16384\n",
	}, write: sysctl.Unknown, reason: "/usr/lib/sysctl.d/10-a.conf:2 gives enough"},
	{name: "another file gives too little", files: map[string]string{
		"/usr/lib/sysctl.d/10-a.conf": instances + " = 256\n",
	}, write: 8192},
	{name: "a later file wins", files: map[string]string{
		"/etc/sysctl.d/99-z.conf": instances + " = 256\n",
	}, write: 8192, overrides: []Loader{Systemd, Procps}},
	{name: "sysctl.conf wins with procps", files: map[string]string{
		"/etc/sysctl.conf": instances + " = 256\n",
	}, write: 8192, overrides: []Loader{Procps}},
	{name: "sysctl.conf gives enough to procps alone", files: map[string]string{
		"/etc/sysctl.conf": instances + " = 16384\n",
	}, write: 16384, reason: "/etc/sysctl.conf:1"},
	{name: "a later glob loses against a name", files: map[string]string{
		"/etc/sysctl.d/99-z.conf": "fs.inotify.*_instances = 256\n",
	}, write: 8192},
	{name: "a hidden file gives enough to procps alone", files: map[string]string{
		"/etc/sysctl.d/.a.conf": instances + " = 16384\n",
	}, write: 16384, reason: "/etc/sysctl.d/.a.conf:1"},
	{name: "ours was there with other values", files: map[string]string{
		PersistFile: persistHeader + instances + " = 1024\n",
	}, write: 8192},
	{name: "ours masks a vendor's of the same name", files: map[string]string{
		"/usr/lib/sysctl.d/90-nodetune.conf": instances + " = 64\n",
	}, write: 8192},
	{name: "taken back by a later file", files: map[string]string{
		"/etc/sysctl.d/99-z.conf": "-" + instances + "\n",
	}, write: 8192, overrides: []Loader{Systemd}},
}

var (
	floor8192 = []sysctl.Rule{{Key: instances, Op: sysctl.AtLeast, Want: 8192}}
	running   = []sysctl.Reading{{Key: instances, Value: 128}}
	machine   = sysctl.Machine{MemoryBytes: 8 << 30}
)

// procfs returns a procfs of Linux 6.1 whose command line is args.
func procfs(t *testing.T, args string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "sys/kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"cmdline": "BOOT_IMAGE=/vmlinuz ro " + args + "\n", "sys/kernel/osrelease": "6.1.0-28-amd64\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPersistSources: a line of ours never lowers what another source gives.
func TestPersistSources(t *testing.T) {
	const arg = "sysctl.fs.inotify.max_user_instances="
	tuned := func(value string) map[string]string {
		return map[string]string{"/etc/tuned/active_profile": "p\n", "/etc/tuned/p/tuned.conf": "[sysctl]\n" + instances + "=" + value + "\n"}
	}
	low := map[string]string{"/etc/sysctl.d/10-a.conf": instances + " = 256\n"}
	for _, c := range []struct {
		name    string
		cmdline string
		files   map[string]string
		running sysctl.Value
		write   sysctl.Value
		reason  string
	}{
		{"the command line gives enough", arg + "16384", nil, 16384, sysctl.Unknown, "the kernel command line, " + arg + "16384 gives enough"},
		{"the command line gives too little", arg + "1024", nil, 1024, 8192, ""},
		{"a file overwrites the command line", arg + "16384", low, 256, 8192, ""},
		{"a file overwrites the command line, which still runs", arg + "16384", low, 16384, 16384, "16384, whose source is not known"},
		{"TuneD raises", "", tuned(">16384"), 16384, 16384, "TuneD profile p, /etc/tuned/p/tuned.conf:2"},
		{"TuneD sets more", "", tuned("16384"), 128, 16384, "TuneD profile p"},
		{"TuneD lowers", "", tuned("<16384"), 128, 8192, ""},
		{"TuneD sets less", "", tuned("1024"), 128, 8192, ""},
		{"the running value has no source", "", nil, 20000, 20000, "the running value 20000"},
		{"the running value has no source and a file is lower", "", low, 20000, 20000, "the running value 20000"},
		{"the running value is not known", "", nil, sysctl.Unknown, 8192, ""},
		{"a glob that procps 4.0.7 excludes", "", map[string]string{
			"/etc/sysctl.d/a.conf": "fs.inotify.max_user_inst* = 16384\n-fs.inotify.*_instances\n",
		}, 16384, 16384, "/etc/sysctl.d/a.conf:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := []sysctl.Reading{{Key: instances, Value: c.running}}
			p, err := PlanPersist(plant(t, c.files), procfs(t, c.cmdline), floor8192, machine, got)
			if err != nil {
				t.Fatal(err)
			}
			if k := p.Keys[0]; k.Write != c.write || !strings.Contains(k.Reason, c.reason) || c.reason == "" && k.Reason != "" {
				t.Errorf("writes %s (%q), want %s (%q)", k.Write, k.Reason, c.write, c.reason)
			}
		})
	}
}

func TestPlanPersist(t *testing.T) {
	for _, c := range persistCases {
		t.Run(c.name, func(t *testing.T) {
			p, err := PlanPersist(plant(t, c.files), procfs(t, ""), floor8192, machine, running)
			if err != nil {
				t.Fatal(err)
			}
			k := p.Keys[0]
			if k.Write != c.write || !strings.Contains(k.Reason, c.reason) {
				t.Errorf("writes %s (%q), want %s (%q)", k.Write, k.Reason, c.write, c.reason)
			}
			var overrides []Loader
			for _, d := range k.Overrides {
				overrides = append(overrides, d.Loader)
			}
			if !slices.Equal(overrides, c.overrides) {
				t.Errorf("defeated with %v, want %v", overrides, c.overrides)
			}
			if got := p.Content != nil; got != c.write.Known() {
				t.Errorf("a file is planned: %v\n%s", got, p.Content)
			}
		})
	}
}

// TestPersistWithLoaders proves the plan with the programs: what it writes
// leaves the floor in force, unless it says who overrides it.
func TestPersistWithLoaders(t *testing.T) {
	privtest.Host(t)
	for _, c := range persistCases {
		t.Run(c.name, func(t *testing.T) {
			root := plant(t, c.files)
			p, err := PlanPersist(root, procfs(t, ""), floor8192, machine, running)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Write(root); err != nil {
				t.Fatal(err)
			}
			for loader, program := range programs {
				value, output := load(t, root, program, sysctl.Key(instances).Path(), "128")
				want := !slices.Contains(c.overrides, loader)
				if got := number(value) >= 8192; got != want {
					t.Errorf("%s left %q, the floor in force: want %v\n%s", program, value, want, output)
				}
			}
		})
	}
}

// TestPersistNeverLowers: a line of ours stands above what a boot gives anyway.
func TestPersistNeverLowers(t *testing.T) {
	root := plant(t, nil)
	plan := func(k sysctl.Key, want, now sysctl.Value, m sysctl.Machine) KeyPlan {
		t.Helper()
		p, err := PlanPersist(root, procfs(t, ""), []sysctl.Rule{{Key: k, Op: sysctl.AtLeast, Want: want}}, m, []sysctl.Reading{{Key: k, Value: now}})
		if err != nil {
			t.Fatal(err)
		}
		return p.Keys[0]
	}
	// systemd's own 2^63-1 comes before any file.
	if k := plan(sysctl.FileMax, 1<<20, math.MaxInt64, sysctl.Machine{MemoryBytes: 1 << 30}); k.Write.Known() {
		t.Errorf("fs.file-max: writes %s under systemd's largest number", k.Write)
	}
	if k := plan(sysctl.FileMax, 1<<20, 1<<20, sysctl.Machine{MemoryBytes: 1 << 30}); k.Write != 1<<20 {
		t.Errorf("fs.file-max: writes %s, want the floor", k.Write)
	}
	// A default near the floor is not known to the last percent.
	m := sysctl.Machine{MemoryBytes: 500_000 * 1312 * 100}
	computed, _, _ := sysctl.KernelDefault(sysctl.MaxUserWatches, m)
	if k := plan(sysctl.MaxUserWatches, computed+1000, computed, m); k.Write < computed*11/10 {
		t.Errorf("fs.inotify.max_user_watches: writes %s, the kernel may give %s", k.Write, computed*11/10)
	}
}

func TestPersistLeavesReportedKeysAlone(t *testing.T) {
	p, err := PlanPersist(plant(t, nil), procfs(t, ""), []sysctl.Rule{{Key: sysctl.NrOpen, Op: sysctl.Report, Want: sysctl.Unknown}}, machine, nil)
	if err != nil || len(p.Keys) != 0 || p.Content != nil {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestPersistWriteAndRemove(t *testing.T) {
	root := plant(t, nil)
	if err := os.RemoveAll(filepath.Join(root, "etc/sysctl.d")); err != nil {
		t.Fatal(err)
	}
	p, err := PlanPersist(root, procfs(t, ""), floor8192, machine, running)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if changed, err := p.Write(root); changed != want || err != nil {
			t.Errorf("write %d: changed %v, %v, want %v", i, changed, err, want)
		}
	}
	again, err := PlanPersist(root, procfs(t, ""), floor8192, machine, running)
	if err != nil || string(again.Content) != string(p.Content) {
		t.Errorf("a plan over our own file differs: %v\n%s\n%s", err, p.Content, again.Content)
	}
	for i, want := range []bool{true, false} {
		if removed, err := RemovePersisted(root); removed != want || err != nil {
			t.Errorf("remove %d: %v, %v, want %v", i, removed, err, want)
		}
	}
}

// TestPersistForeign: what is not our file is neither replaced nor removed.
func TestPersistForeign(t *testing.T) {
	for name, content := range map[string]string{
		"another program's":     "fs.file-max = 7\n",
		"a link to /dev/null":   "-> /dev/null",
		"a link to ours":        "-> ours",
		"a link that climbs":    "-> ../../../../../../../../etc/hostname",
		"a directory":           "",
		"ours without the mark": strings.TrimPrefix(persistHeader, "#"),
	} {
		t.Run(name, func(t *testing.T) {
			root := plant(t, map[string]string{"/etc/sysctl.d/ours": persistHeader})
			file := filepath.Join(root, PersistFile)
			var err error
			switch target, link := strings.CutPrefix(content, "-> "); {
			case link:
				err = os.Symlink(target, file)
			case content == "":
				err = os.Mkdir(file, 0o755)
			default:
				err = os.WriteFile(file, []byte(content), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			p, err := PlanPersist(root, procfs(t, ""), floor8192, machine, running)
			if err != nil {
				t.Fatal(err)
			}
			if changed, err := p.Write(root); changed || err == nil {
				t.Errorf("replaced: %v, %v", changed, err)
			} else if !strings.Contains(err.Error(), "--persist") {
				t.Errorf("%v does not say what to do", err)
			}
			if removed, err := RemovePersisted(root); removed || err == nil {
				t.Errorf("removed: %v, %v", removed, err)
			}
			if _, err := os.Lstat(file); err != nil {
				t.Error(err)
			}
		})
	}
}
