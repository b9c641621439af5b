package rotate

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// TestHelperAct rotates FILE and compresses what is there to compress, and says
// what kept it from that.
func TestHelperAct(t *testing.T) {
	if !disktest.IsHelper(t) {
		return // it is started by other tests
	}
	file := os.Getenv("FILE")
	r := newRotator(t, filepath.Dir(file))
	how := Options{Compress: archive.Gzip, InPlace: os.Getenv("INPLACE") != "", Reopen: Reopen{PID: disktest.EnvInt("PID")}}
	_, err := r.FinishRotation(t.Context(), file, how, time.Now())
	if err == nil && os.Getenv("SETTLE") == "" {
		_, err = r.Rotate(t.Context(), file, how, time.Now())
	}
	fmt.Fprintf(os.Stdout, "result: %v\n", err)
}

// acting is what acting upon logs of others takes, as docs/permissions.md lists.
var acting = []string{"chown", "dac_override", "fowner", "kill", "lease", "sys_ptrace"}

// A root without one of the capabilities says which it misses, and has done
// nothing at all; with all of them and no other it rotates.
func TestActWithoutCapability(t *testing.T) {
	privtest.Root(t)
	for _, c := range []struct {
		without string
		how     string // exchange, in place, or settle
		want    string // in the error; "" for none
	}{
		{"", "exchange", ""},
		{"", "in place", ""},
		{"", "settle", ""},
		{"chown", "exchange", "CAP_CHOWN"},
		{"chown", "in place", "CAP_CHOWN"},
		{"chown", "settle", "CAP_CHOWN"},
		{"fowner", "exchange", "CAP_FOWNER"},
		{"fowner", "in place", "CAP_FOWNER"},
		{"fowner", "settle", "CAP_FOWNER"},
		{"dac_override", "exchange", "CAP_DAC_READ_SEARCH"},
		{"dac_override", "in place", "CAP_DAC_READ_SEARCH"},
		{"dac_override+dac_read_search", "exchange", "CAP_DAC_OVERRIDE"},
		{"dac_override+dac_read_search", "in place", "CAP_DAC_OVERRIDE"},
		{"lease", "exchange", "CAP_LEASE"},
		{"lease", "in place", "CAP_LEASE"},
		{"lease", "settle", "CAP_LEASE"},
		{"kill", "exchange", "CAP_KILL"},
		{"kill", "in place", ""},
		{"sys_ptrace", "exchange", "CAP_SYS_PTRACE"},
		{"sys_ptrace", "in place", "CAP_SYS_PTRACE"},
	} {
		t.Run(c.without+", "+c.how, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			disktest.Must(t, os.Chmod(dir, 0o755))
			file := filepath.Join(dir, "app.log")
			disktest.Must(t, os.WriteFile(file, bytes.Repeat([]byte("a line\n"), 10_000), 0o600))
			own := func(p string) {
				disktest.Must(t, os.Chown(p, 1234, 2345))
				disktest.Must(t, os.Chmod(p, 0o640))
				disktest.Must(t, unix.Setxattr(p, "user.team", []byte("blue"), 0))
			}
			own(file)
			// A process without privileges writes the log.
			w := exec.Command("setpriv", "--reuid=1234", "--regid=2345", "--clear-groups", "--", "sh", "-c", "trap : HUP; while :; do sleep 1; done")
			log, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
			disktest.Must(t, err)
			w.Stdout = log
			disktest.Must(t, w.Start())
			_ = log.Close()
			t.Cleanup(func() { _ = w.Process.Kill(); _ = w.Wait() })
			for caught := uint64(0); caught&1 == 0; time.Sleep(time.Millisecond) { // SIGHUP is signal 1
				b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.Process.Pid))
				disktest.Must(t, err)
				if i := bytes.Index(b, []byte("Name:\tsh\n")); i < 0 { // setpriv before, which has privileges
					continue
				}
				_, rest, _ := strings.Cut(string(b), "SigCgt:")
				_, err = fmt.Sscanf(rest, "%x", &caught)
				disktest.Must(t, err)
			}

			env := []string{"NODETUNE_TEST_HELPER=TestHelperAct", "FILE=" + file, fmt.Sprint("PID=", w.Process.Pid)}
			switch c.how {
			case "in place":
				env = append(env, "INPLACE=1")
			case "settle":
				env = append(env, "SETTLE=1")
				old := file + ".20260131-110000000000"
				disktest.WriteFile(t, old, "old\n")
				own(old)
			}
			before := inodes(t, dir)
			got := strings.TrimSpace(without(t, c.without, "TestHelperAct", env))
			t.Log(got)
			changed := inodes(t, dir) != before
			switch {
			case c.want == "" && (got != "result: <nil>" || !changed):
				t.Errorf("%s; changed: %v", got, changed)
			case c.want != "" && (!strings.Contains(got, c.want) || changed):
				t.Errorf("%s; want %s; before:\n%safter:\n%s", got, c.want, before, inodes(t, dir))
			}
		})
	}
}

// without runs a helper with what acting takes, less the capability, and returns
// what the helper printed. "+" after the capability names one that the helper has
// besides.
func without(t *testing.T, capability, helper string, env []string) string {
	t.Helper()
	capability, besides, _ := strings.Cut(capability, "+")
	set := "-all"
	for _, c := range append([]string{besides}, acting...) {
		if c != "" && c != capability {
			set += ",+" + c
		}
	}
	exe, err := os.Executable()
	disktest.Must(t, err)
	cmd := exec.Command("setpriv", "--inh-caps="+set, "--bounding-set="+set, "--", exe, "-test.run=^"+helper+"$", "-test.v=false")
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	printed, _, _ := strings.Cut(string(out), "\nPASS")
	return printed
}

// inodes lists a directory as far as a rotation changes it.
func inodes(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, n := range disktest.List(t, dir) {
		var st unix.Stat_t
		disktest.Must(t, unix.Lstat(filepath.Join(dir, n), &st))
		fmt.Fprintln(&b, st.Ino, st.Size, st.Uid, st.Gid, fmt.Sprintf("%o", st.Mode), n)
	}
	return b.String()
}
