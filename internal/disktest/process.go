package disktest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Run runs a command that must succeed.
func Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Start runs a program until the test ends.
func Start(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, out.String())
		}
	})
	return cmd
}

// Stop stops every thread of a program; SIGSTOP alone only asks for it.
func Stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		running := 0
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", cmd.Process.Pid))
		for _, stat := range threads {
			if b, err := os.ReadFile(stat); err == nil && !strings.Contains(string(b), ") T ") {
				running++
			}
		}
		if running == 0 && len(threads) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d threads of %s do not stop", running, cmd.Path)
		}
		time.Sleep(time.Millisecond)
	}
}

// HoldOpen starts a process that has file open for reading, and nothing else to do.
// It has read as much as the returned file's offset says: they share it.
func HoldOpen(t testing.TB, file string) (reader *os.File, end func()) {
	t.Helper()
	f, err := os.Open(file)
	Must(t, err)
	cmd := exec.Command("sleep", "1000")
	cmd.Stdin = f
	Must(t, cmd.Start())
	end = sync.OnceFunc(func() { _, _, _ = cmd.Process.Kill(), cmd.Wait(), f.Close() })
	t.Cleanup(end)
	return f, end
}

// Scale returns the size of an experiment: full with `make loss`, which takes
// minutes, and otherwise a tenth.
func Scale(full int) int {
	if os.Getenv("NODETUNE_TEST_LOSS") == "full" {
		return full
	}
	return full / 10
}

// Helper runs a test of this binary as a process of its own.
func Helper(t testing.TB, name string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+name+"$", "-test.v=false")
	cmd.Env = append(append(os.Environ(), "NODETUNE_TEST_HELPER="+name), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// IsHelper reports whether this process is the helper that runs the test t.
func IsHelper(t *testing.T) bool {
	t.Helper()
	return os.Getenv("NODETUNE_TEST_HELPER") == t.Name()
}

// EnvInt returns the number in the environment variable name, or 0.
func EnvInt(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return n
}

// HasOpen reports whether the process pid has file open.
func HasOpen(pid int, file os.FileInfo) bool {
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return slices.ContainsFunc(fds, func(fd string) bool {
		st, err := os.Stat(fd)
		return err == nil && os.SameFile(st, file)
	})
}

// WaitUntil waits for ok to return true. After 30 seconds it fails the test.
func WaitUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("waited for %s in vain", what)
			return
		}
	}
}

// EveryProcessSeen runs the test again where every process can be looked into, and
// reports whether this is there: a process that cannot may have a file mapped, and
// then nothing is punched. Such are in many sandboxes.
func EveryProcessSeen(t *testing.T) bool {
	t.Helper()
	if IsHelper(t) {
		return true
	}
	exe, err := os.Executable()
	Must(t, err)
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "NODETUNE_TEST_HELPER="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// CPUTime reports the processor time of the benchmark, children included: on a
// busy machine the wall clock also measures the other processes.
func CPUTime(b *testing.B) func() {
	used := func() (ns int64) {
		for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
			var r unix.Rusage
			if err := unix.Getrusage(who, &r); err != nil {
				b.Fatal(err)
			}
			ns += r.Utime.Nano() + r.Stime.Nano()
		}
		return ns
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}
