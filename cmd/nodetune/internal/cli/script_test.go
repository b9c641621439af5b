package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nodetune/nodetune/internal/goldentest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(victimEnv); role != "" {
		beVictim(role)
	}
	testscript.Main(built{m}, map[string]func(){"nodetune": Main})
}

// TestScript runs the files of testdata/script, each one behaviour of the
// command line, on proc roots made of plain files.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       goldentest.Updating(),
		Setup: func(e *testscript.Env) error {
			e.Setenv("roots", "--path.procfs="+filepath.Join(e.WorkDir, "proc")+" --path.rootfs="+filepath.Join(e.WorkDir, "root"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"host":  hostCmd,
			"exits": exitsCmd,
		},
	})
}

// hostCmd makes proc and root below the work directory: an untouched machine
// with 16 GiB of memory. Arguments set keys: host fs.file-max=5.
func hostCmd(ts *testscript.TestScript, _ bool, args []string) {
	values := map[string]string{
		"fs.inotify.max_user_instances": "128",
		"fs.inotify.max_user_watches":   "130936",
		"fs.inotify.max_queued_events":  "16384",
		"fs.file-max":                   "9223372036854775807",
		"fs.nr_open":                    "1048576",
		"fs.epoll.max_user_watches":     "3734521",
		"user.max_inotify_instances":    "128",
		"user.max_inotify_watches":      "130936",
		"kernel.random.boot_id":         "11111111-1111-1111-1111-111111111111",
		"fs.file-nr":                    "1000\t0\t9223372036854775807",
	}
	for _, arg := range args {
		k, v, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("usage: host [key=value...]; an empty value removes the key")
		}
		values[k] = v
	}
	write := func(name, text string) {
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o755))
		ts.Check(os.WriteFile(name, []byte(text), 0o644))
	}
	for k, v := range values {
		if v != "" {
			write(ts.MkAbs("proc/sys/"+strings.ReplaceAll(k, ".", "/")), v+"\n")
		}
	}
	write(ts.MkAbs("proc/meminfo"), "MemTotal:       16777216 kB\n")
	write(ts.MkAbs("proc/cmdline"), "BOOT_IMAGE=/vmlinuz ro\n")
	ts.Check(os.MkdirAll(ts.MkAbs("root"), 0o755))
}

// exitsCmd runs nodetune on that machine: exits CODE ARGS... expects that exit
// code.
func exitsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE ARGS...")
	}
	roots := strings.Fields(ts.Getenv("roots"))
	script := `"$@"; code=$?; [ $code = ` + args[0] + ` ] || { echo "exit code $code, want ` + args[0] + `" >&2; exit 1; }`
	ts.Check(ts.Exec("sh", append([]string{"-c", script, "sh", "nodetune"}, append(args[1:], roots...)...)...))
}
