package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/sysctl"

	"github.com/nodetune/nodetune/internal/privtest"
)

// writeDir makes a directory of files.
func writeDir(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func rulesText(c Config) string {
	var all []string
	for _, r := range c.Sysctl.Rules {
		text := r.Key
		if r.AtLeast != nil {
			text += fmt.Sprintf(">=%d", int64(*r.AtLeast))
		}
		if r.Ceiling != nil {
			text += fmt.Sprintf("<=%d", int64(*r.Ceiling))
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestMergeOfADirectory(t *testing.T) {
	rule := func(s string) string { return head + "profile: minimal\nsysctl:\n  rules:\n  - " + s + "\n" }
	for _, test := range []struct {
		name  string
		files map[string]string
		ok    func(Config) bool
	}{
		{"one file", map[string]string{"a.yaml": head + "profile: minimal\n"}, func(c Config) bool { return c.Profile == "minimal" }},
		{"blocks of different files", map[string]string{
			"assist.yaml":        head + "disk:\n  mode: assist\n",
			"config.yaml":        head + "profile: minimal\n",
			"pod-demands.yaml":   head + "reporter:\n  podDemands:\n    enabled: true\n    namespaces: ['*']\n",
			"startup-taint.yaml": head + "reporter:\n  openGate: true\n",
		}, func(c Config) bool {
			return c.Disk.Mode == disk.Assist && c.Profile == "minimal" && c.Reporter.PodDemands.Enabled && c.Reporter.OpenGate &&
				slices.Equal(c.Reporter.PodDemands.Namespaces, []string{"*"}) && c.Disk.Pressure == Default().Disk.Pressure
		}},
		{"fields of one block", map[string]string{
			"a.yaml": head + "disk: {pressure: {availPercent: 11}}\n",
			"b.yaml": head + "disk: {pressure: {inodesPercent: 7}}\n",
		}, func(c Config) bool { return c.Disk.Pressure.AvailPercent == 11 && c.Disk.Pressure.InodesPercent == 7 }},
		{"equal values", map[string]string{
			"a.yaml": head + "profile: minimal\ndisk: {growthWindow: 1h, reclaim: {maxBytes: 1Gi, classes: [archives]}}\ninotify: {pressurePercent: 80}\n",
			"b.yaml": head + "profile: \"minimal\"\ndisk: {growthWindow: 60m, reclaim: {maxBytes: 1024Mi, classes: [\"archives\"]}}\ninotify: {pressurePercent: 8e1}\n",
		}, func(c Config) bool { return c.Profile == "minimal" }},
		{"an empty block", map[string]string{
			"a.yaml": head + "disk:\n", "b.yaml": head + "disk: {mode: assist}\n", "c.yaml": head + "disk:\n",
		}, func(c Config) bool { return c.Disk.Mode == disk.Assist }},
		{"an empty list", map[string]string{
			"a.yaml": head + "sysctl: {rules: }\n", "b.yaml": rule("{key: fs.file-max, atLeast: 5}"),
		}, func(c Config) bool { return strings.Contains(rulesText(c), "fs.file-max>=5") }},
		{"rules of different keys", map[string]string{
			"a.yaml": rule("{key: fs.file-max, atLeast: 5}"), "b.yaml": rule("{key: vm.max_map_count, atLeast: 6}"),
		}, func(c Config) bool {
			return strings.Contains(rulesText(c), "fs.file-max>=5") && strings.Contains(rulesText(c), "vm.max_map_count>=6")
		}},
		{"one rule in two files, and two spellings", map[string]string{
			"a.yaml": rule("{key: fs.file-max, atLeast: 5}"), "b.yaml": rule("{key: fs/file-max, atLeast: \"5\", ceiling: 9}"),
		}, func(c Config) bool { return strings.Contains(rulesText(c), "fs.file-max>=5<=9") }},
		{"rotations by paths", map[string]string{
			"a.yaml": head + "disk: {rotations: [{paths: [/var/log/a.log], maxSize: 1Mi, inPlace: true}]}\n",
			"b.yaml": head + "disk: {rotations: [{paths: [/var/log/a.log], archives: 3}, {paths: [/var/log/b.log], maxSize: 1Mi, inPlace: true}]}\n",
		}, func(c Config) bool { return len(c.Disk.Rotations) == 2 && c.Disk.Rotations[0].Archives == 3 }},
		{"other entries are not read", map[string]string{
			"a.yaml": head, ".b.yaml": "{", ".hidden/c.yaml": "{", "README.md": "{", "d.yaml~": "{", "e.yaml.bak": "{", "sub/f.yaml": "{",
		}, func(c Config) bool { return reflect.DeepEqual(c.Sysctl, Default().Sysctl) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Load(writeDir(t, test.files))
			if err != nil || !test.ok(c) {
				t.Errorf("%v\n%+v", err, c)
			}
		})
	}
}

func TestDirectoryRefuses(t *testing.T) {
	rule := func(s string) string { return head + "sysctl:\n  rules:\n  - " + s + "\n" }
	for _, test := range []struct {
		name  string
		files map[string]string
		want  []string // DIR stands for the directory
	}{
		{"nothing", nil, []string{"DIR: has no file *.yaml"}},
		{"another ending", map[string]string{"a.yml": head}, []string{"DIR: has no file *.yaml"}},
		{
			"two values",
			map[string]string{"a.yaml": head + "profile: minimal\n", "b.yaml": head + "\nprofile: default\n"},
			[]string{"DIR/b.yaml:4: profile: is default here and minimal in DIR/a.yaml:3: remove one of them"},
		},
		{
			"two modes",
			map[string]string{"a.yaml": head + "disk:\n  mode: assist\n", "b.yaml": head + "disk:\n  mode: observe\n"},
			[]string{"DIR/b.yaml:4: disk.mode: is observe here and assist in DIR/a.yaml:4"},
		},
		{
			"two values that differ twice",
			map[string]string{"a.yaml": head + "disk: {mode: assist}\nprofile: minimal\n", "b.yaml": head + "disk: {mode: observe}\nprofile: default\n"},
			[]string{"disk.mode: is observe here", "profile: is default here"},
		},
		{
			"two lists",
			map[string]string{"a.yaml": head + "disk: {logPaths: [/var/log]}\n", "b.yaml": head + "disk: {logPaths: [/var/log, /run/log]}\n"},
			[]string{`DIR/b.yaml:3: disk.logPaths: is "[/var/log, /run/log]" here and "[/var/log]" in DIR/a.yaml:3`},
		},
		{
			"two floors",
			map[string]string{"a.yaml": rule("{key: fs.file-max, atLeast: 5}"), "b.yaml": rule("{key: fs.nr_open, reportOnly: true}\n  - {key: fs/file-max, atLeast: 6}")},
			[]string{"DIR/b.yaml:6: sysctl.rules[1].atLeast: is 6 here and 5 in DIR/a.yaml:5"},
		},
		{
			"two operators",
			map[string]string{"a.yaml": rule("{key: fs.file-max, atLeast: 5}"), "b.yaml": rule("{key: fs.file-max, reportOnly: true}")},
			[]string{"DIR/a.yaml:5: sysctl.rules[0]: fs.file-max: want exactly one of"},
		},
		{
			"a key twice in one file",
			map[string]string{"a.yaml": rule("{key: fs.file-max, atLeast: 5}"), "b.yaml": rule("{key: fs.file-max, atLeast: 5}\n  - {key: fs.file-max, atLeast: 5}")},
			[]string{"DIR/b.yaml:6: sysctl.rules[1].key: \"fs.file-max\" has a rule already"},
		},
		{
			"unknown field in the second",
			map[string]string{"a.yaml": head, "b.yaml": head + "disc: {}\n"},
			[]string{"DIR/b.yaml:3: disc: is not a field here"},
		},
		{"wrong type in the second", map[string]string{"a.yaml": head, "b.yaml": head + "disk: [1]\n"}, []string{"DIR/b.yaml:3: disk: is a list"}},
		{"wrong value in the second", map[string]string{"a.yaml": head + "disk: {mode: assist}\n", "b.yaml": head + "disk:\n  maxRows: 0\n"}, []string{"DIR/b.yaml:4: disk.maxRows: 0 leaves nothing"}},
		{
			"wrong value of the second's rule",
			map[string]string{"a.yaml": rule("{key: fs.file-max, atLeast: 5}"), "b.yaml": rule("{key: kernel.panic, atLeast: 5}")},
			[]string{"DIR/b.yaml:5: sysctl.rules[1].key: kernel.panic cannot be set"},
		},
		{
			"no head in the second",
			map[string]string{"a.yaml": head, "b.yaml": "profile: minimal\n"},
			[]string{`DIR/b.yaml: apiVersion: is "", this nodetune reads`, `DIR/b.yaml: kind: is "", want Configuration`},
		},
		{"another version in the second", map[string]string{"a.yaml": head, "b.yaml": "apiVersion: nodetune.io/v9\nkind: Configuration\n"}, []string{"DIR/b.yaml:1: apiVersion: is"}},
		{"empty second", map[string]string{"a.yaml": head, "b.yaml": "# nothing\n"}, []string{"DIR/b.yaml: is empty: begin with apiVersion"}},
		{"no YAML in the first", map[string]string{"a.yaml": "a: [\n", "b.yaml": head}, []string{"DIR/a.yaml: is not YAML"}},
		{"two documents", map[string]string{"a.yaml": head + "---\n" + head, "b.yaml": head}, []string{"DIR/a.yaml: holds more than one document"}},
		{"alias", map[string]string{"a.yaml": head, "b.yaml": head + "profile: &a default\n"}, []string{"DIR/b.yaml:3: profile: uses an anchor"}},
		{"a directory called .yaml", map[string]string{"a.yaml": head, "b.yaml/x": ""}, []string{"DIR/b.yaml: is not a regular file"}},
		{"too large together", map[string]string{"a.yaml": head + "#" + strings.Repeat("x", 600<<10), "b.yaml": head + "#" + strings.Repeat("x", 600<<10)}, []string{"DIR: its files have more than 1048576 bytes"}},
		{"controls in a name", map[string]string{"a\x1b[31m.yaml": "{"}, []string{`\x1b[31m.yaml": is not YAML`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := writeDir(t, test.files)
			c, err := Load(dir)
			if err == nil {
				t.Fatalf("no error: %+v", c)
			}
			for _, want := range test.want {
				if want = strings.ReplaceAll(want, "DIR", dir); !strings.Contains(err.Error(), want) {
					t.Errorf("error %.600q\nwant it to contain %q", err, want)
				}
			}
			if strings.ContainsAny(err.Error(), "\x00\x1b\r") {
				t.Errorf("the message breaks a terminal: %q", err)
			}
		})
	}
}

func TestTooManyFiles(t *testing.T) {
	files := make(map[string]string)
	for i := range maxParts + 1 {
		files[fmt.Sprintf("%d.yaml", i)] = head
	}
	if _, err := Load(writeDir(t, files)); err == nil || !strings.Contains(err.Error(), "at most 100 are read") {
		t.Errorf("error %v", err)
	}
	for i := range maxEntries + 1 {
		files[fmt.Sprintf("%d.txt", i)] = ""
	}
	if _, err := Load(writeDir(t, files)); err == nil || !strings.Contains(err.Error(), "more than 1000 entries") {
		t.Errorf("error %v", err)
	}
}

// configMap writes files as the kubelet does: links through ..data into a
// directory for each version.
func configMap(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	at := filepath.Join(dir, ".."+version)
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink("..data/"+name, filepath.Join(dir, name))
	}
	if err := os.Symlink(".."+version, filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func TestReloadOfAConfigMap(t *testing.T) {
	dir := writeDir(t, nil)
	configMap(t, dir, "1", map[string]string{"config.yaml": head + "profile: default\n", "assist.yaml": head + "disk: {mode: assist}\n"})
	c, f, err := Watch(dir)
	if err != nil || c.Disk.Mode != disk.Assist || c.Profile != "default" {
		t.Fatalf("%v: %+v", err, c)
	}
	if v := f.Poll(false); v.Changed || v.Err != nil || v.Reverted {
		t.Errorf("nothing changed: %+v", v)
	}
	configMap(t, dir, "2", map[string]string{"config.yaml": head + "profile: minimal\n", "assist.yaml": head + "disk: {mode: assist}\n"})
	if v := f.Poll(false); v.Changed || v.Err != nil {
		t.Errorf("changed, and not settled: %+v", v)
	}
	if v := f.Poll(false); !v.Changed || v.Config.Profile != "minimal" || v.Config.Disk.Mode != disk.Assist {
		t.Errorf("settled: %+v", v)
	}
	configMap(t, dir, "3", map[string]string{"config.yaml": head + "profile: minimal\n", "assist.yaml": head + "profile: default\n"})
	if v := f.Poll(true); v.Changed || v.Err == nil || !strings.Contains(v.Err.Error(), "profile: is minimal here and default in") {
		t.Errorf("a conflict: %+v", v)
	}
	configMap(t, dir, "4", map[string]string{"config.yaml": head + "profile: minimal\n", "assist.yaml": head + "disk: {mode: assist}\n"})
	if v := f.Poll(true); v.Changed || v.Err != nil || !v.Reverted {
		t.Errorf("reverted: %+v", v)
	}
	if err := os.WriteFile(filepath.Join(dir, "new.yaml"), []byte(head+"reporter: {openGate: true}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if v := f.Poll(true); !v.Changed || !v.Config.Reporter.OpenGate {
		t.Errorf("a new file: %+v", v)
	}
	// Another user could change it now: what is in force stays.
	if err := os.Chmod(filepath.Join(dir, "new.yaml"), 0o646); err != nil {
		t.Fatal(err)
	}
	if v := f.Poll(true); v.Changed || v.Err == nil || !strings.Contains(v.Err.Error(), "others may write it") {
		t.Errorf("writable by others: %+v", v)
	}
}

func TestTrust(t *testing.T) {
	uid := os.Geteuid()
	if uid != 0 {
		privtest.Root(t) // only root can give files away
	}
	for _, test := range []struct {
		name            string
		dirMode, mode   os.FileMode
		dirUID, fileUID int
		trust           trust
		want            string // of the directory's error; "": it is read
	}{
		{"root's", 0o755, 0o644, 0, 0, trust{uid: 0}, ""},
		{"nodetune's own", 0o755, 0o600, 1000, 1000, trust{uid: 1000}, ""},
		{"root's, for another uid", 0o755, 0o644, 0, 0, trust{uid: 1000}, ""},
		{"group may write the file", 0o755, 0o664, 0, 0, trust{uid: 0}, "FILE: its group or others may write it (mode 0664), and could configure nodetune: chmod go-w FILE"},
		{"others may write the file", 0o755, 0o602, 0, 0, trust{uid: 0}, "FILE: its group or others may write it (mode 0602)"},
		{"another user's file", 0o755, 0o644, 0, 1000, trust{uid: 0}, "FILE: belongs to uid 1000, which is neither root nor nodetune's own uid 0, and could configure nodetune: chown root FILE"},
		{"another user's file that only he reads", 0o755, 0o400, 0, 1000, trust{uid: 0}, "FILE: belongs to uid 1000"},
		{"others may write the directory", 0o777, 0o644, 0, 0, trust{uid: 0}, "DIR: its group or others may write it (mode 0777)"},
		{"others may write the sticky directory", 0o777 | os.ModeSticky, 0o644, 0, 0, trust{uid: 0}, "DIR: its group or others may write it (mode 1777)"},
		{"another user's directory", 0o755, 0o644, 1000, 0, trust{uid: 0}, "DIR: belongs to uid 1000"},
		{"not obeyed", 0o777, 0o666, 1000, 1000, trust{any: true}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := writeDir(t, map[string]string{"a.yaml": head})
			file := filepath.Join(dir, "a.yaml")
			for _, err := range []error{
				os.Chown(file, test.fileUID, test.fileUID), os.Chmod(file, test.mode),
				os.Chown(dir, test.dirUID, test.dirUID), os.Chmod(dir, test.dirMode),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			want := strings.NewReplacer("FILE", file, "DIR", dir).Replace(test.want)
			_, err := readParts(dir, test.trust)
			if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
				t.Errorf("directory: error %v, want %q", err, want)
			}
			_, err = readParts(file, test.trust)
			if strings.HasPrefix(test.want, "DIR") || test.want == "" {
				want = ""
			}
			if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
				t.Errorf("file: error %v, want %q", err, want)
			}
			if link := filepath.Join(t.TempDir(), "link"); os.Symlink(file, link) == nil && want != "" {
				if _, err := readParts(link, test.trust); err == nil {
					t.Error("a link to the file is trusted")
				}
			}
		})
	}
}

// The kubelet gives the directory of a ConfigMap mode 0777 and mounts it read-only.
func TestTrustsAMountedConfigMap(t *testing.T) {
	dir := writeDir(t, nil)
	configMap(t, dir, "1", map[string]string{"config.yaml": head + "profile: minimal\n"})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a writable directory of mode 0777 is trusted")
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		privtest.Root(t)
		t.Fatalf("needs CAP_SYS_ADMIN: %v", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(dir); err != nil || c.Profile != "minimal" {
		t.Errorf("%v: %+v", err, c.Profile)
	}
}

// Two files that each are valid are either merged, so that the result holds what
// each of them asks for whatever their order, or refused.
func FuzzMerge(f *testing.F) {
	f.Add("profile: minimal\n", "disk: {mode: assist}\n")
	f.Add("sysctl: {rules: [{key: fs.file-max, atLeast: 5}]}\n", "sysctl: {rules: [{key: fs/file-max, atLeast: 5, ceiling: 7}]}\n")
	f.Add("disk: {growthWindow: 1h}\n", "disk:\n  growthWindow: 60m\n")
	f.Add("disk:\n", "disk: {reclaim: {classes: [live]}}\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		pa, pb := Part{"a.yaml", head + a}, Part{"b.yaml", head + b}
		_, errA := ParseParts([]Part{pa}, "a.yaml")
		_, errB := ParseParts([]Part{pb}, "b.yaml")
		ab, err := ParseParts([]Part{pa, pb}, "dir")
		ba, errBA := ParseParts([]Part{pb, pa}, "dir")
		switch {
		case (err == nil) != (errBA == nil):
			t.Fatalf("the order decides: %v, %v", err, errBA)
		case err != nil:
			if strings.ContainsAny(err.Error(), "\x00\x1b\r") {
				t.Fatalf("the message breaks a terminal: %q", err)
			}
			return
		}
		if errA != nil && errB != nil && len(ab.Sysctl.Rules) == 0 {
			t.Fatalf("two wrong files are valid together: %v, %v", errA, errB)
		}
		m := sysctl.Machine{MemoryBytes: 1 << 34}
		x, y := ab.Sysctl.For(m), ba.Sysctl.For(m)
		byKey := func(a, b sysctl.Rule) int { return strings.Compare(string(a.Key), string(b.Key)) }
		slices.SortFunc(x, byKey)
		slices.SortFunc(y, byKey)
		ab.Sysctl, ba.Sysctl, ab.Warnings, ba.Warnings = sysctl.Policy{}, sysctl.Policy{}, nil, nil
		if len(ab.Disk.Rotations)+len(ba.Disk.Rotations) > 0 {
			ab.Disk.Rotations, ba.Disk.Rotations = nil, nil
		}
		if !reflect.DeepEqual(x, y) || !reflect.DeepEqual(ab, ba) {
			t.Fatalf("the order decides:\n%+v\n%+v", ab, ba)
		}
	})
}
