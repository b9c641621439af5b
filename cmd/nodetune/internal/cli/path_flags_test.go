package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
)

func TestRootsFromEnvironment(t *testing.T) {
	dir := t.TempDir()
	other := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	builtIn := host.Roots{Procfs: "/proc", Sysfs: "/sys", Rootfs: "/"}
	for _, test := range []struct {
		name string
		args []string
		env  map[string]string
		want host.Roots
		err  string // how the error starts
	}{
		{name: "neither", want: builtIn},
		{name: "procfs", env: map[string]string{"NODETUNE_PATH_PROCFS": dir}, want: host.Roots{Procfs: dir, Sysfs: "/sys", Rootfs: "/"}},
		{name: "sysfs", env: map[string]string{"NODETUNE_PATH_SYSFS": dir}, want: host.Roots{Procfs: "/proc", Sysfs: dir, Rootfs: "/"}},
		{name: "rootfs", env: map[string]string{"NODETUNE_PATH_ROOTFS": dir}, want: host.Roots{Procfs: "/proc", Sysfs: "/sys", Rootfs: dir}},
		{name: "all", env: map[string]string{"NODETUNE_PATH_PROCFS": dir, "NODETUNE_PATH_SYSFS": dir, "NODETUNE_PATH_ROOTFS": dir}, want: host.Roots{Procfs: dir, Sysfs: dir, Rootfs: dir}},
		{name: "empty counts as unset", env: map[string]string{"NODETUNE_PATH_PROCFS": ""}, want: builtIn},
		{name: "the flag wins", args: []string{"--path.procfs=" + other}, env: map[string]string{"NODETUNE_PATH_PROCFS": dir}, want: host.Roots{Procfs: other, Sysfs: "/sys", Rootfs: "/"}},
		{name: "the flag wins with its default", args: []string{"--path.procfs=/proc"}, env: map[string]string{"NODETUNE_PATH_PROCFS": dir}, want: builtIn},
		{name: "the flag wins over a wrong variable", args: []string{"--path.rootfs", other}, env: map[string]string{"NODETUNE_PATH_ROOTFS": "/nonexistent"}, want: host.Roots{Procfs: "/proc", Sysfs: "/sys", Rootfs: other}},
		{name: "a flag leaves the other variables", args: []string{"--path.procfs=" + other}, env: map[string]string{"NODETUNE_PATH_ROOTFS": dir}, want: host.Roots{Procfs: other, Sysfs: "/sys", Rootfs: dir}},
		{name: "another program's variable", env: map[string]string{"PATH_PROCFS": dir}, want: builtIn},
		{name: "no procfs there", env: map[string]string{"NODETUNE_PATH_PROCFS": "/nonexistent"}, err: "NODETUNE_PATH_PROCFS: stat /nonexistent: no such file or directory: set it to the procfs mount point, or give --path.procfs"},
		{name: "no sysfs there", env: map[string]string{"NODETUNE_PATH_SYSFS": "/nonexistent"}, err: "NODETUNE_PATH_SYSFS: "},
		{name: "a file", env: map[string]string{"NODETUNE_PATH_ROOTFS": file}, err: `NODETUNE_PATH_ROOTFS: "` + file + `" is not a directory`},
		{name: "NUL", env: map[string]string{"NODETUNE_PATH_ROOTFS": "a\x00b"}, err: "NODETUNE_PATH_ROOTFS: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r host.Roots
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			addRootFlags(&r, flags)
			if err := flags.Parse(test.args); err != nil {
				t.Fatal(err)
			}
			err := rootsFromEnvironment(&r, flags, func(name string) string { return test.env[name] })
			switch {
			case test.err == "" && (err != nil || r != test.want):
				t.Errorf("%+v, %v; want %+v", r, err, test.want)
			case test.err != "" && (err == nil || !strings.HasPrefix(err.Error(), test.err)):
				t.Errorf("error %v, want it to start with %q", err, test.err)
			}
		})
	}
}

func TestHelpNamesTheVariable(t *testing.T) {
	var r host.Roots
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	addRootFlags(&r, flags)
	n := 0
	flags.VisitAll(func(f *pflag.Flag) {
		n++
		want := "NODETUNE_" + strings.ToUpper(strings.ReplaceAll(f.Name, ".", "_"))
		if !strings.Contains(f.Usage, want) {
			t.Errorf("the help of --%s does not name %s: %s", f.Name, want, f.Usage)
		}
	})
	if n != 3 {
		t.Errorf("%d flags, want 3", n)
	}
}
