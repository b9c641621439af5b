package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A helper run of this test binary enters a sandbox; the tests themselves stay
// outside and look at what it leaves.
const envHelper = "NODETUNE_E2E_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(envHelper) == "" {
		os.Exit(m.Run())
	}
	os.Exit(Main(Options{ReadOnlyRoot: os.Getenv(envHelper) == "readonly"}, helper))
}

// helper makes everything a cluster makes outside the namespaces, says so and
// waits.
func helper() int {
	if err := MakeCgroups(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.WriteFile("/proc/sys/kernel/keys/root_maxkeys", []byte("999983"), 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := os.Create("/usr/nodetune-e2e-test"); err == nil {
		_ = os.Remove("/usr/nodetune-e2e-test")
		fmt.Fprintln(os.Stdout, "the root is writable")
	}
	orphan := exec.Command("sh", "-c", "setsid sleep 7919 >/dev/null 2>&1 &")
	if out, err := orphan.CombinedOutput(); err != nil {
		fmt.Fprintln(os.Stderr, err, string(out))
		return 1
	}
	host, _ := os.Hostname()
	fmt.Fprintln(os.Stdout, "host", host, "pid", os.Getpid())
	fmt.Fprintln(os.Stdout, "dir", Dir())
	if os.Getenv(envHelper) == "exit" {
		return 7
	}
	for {
		time.Sleep(time.Hour)
	}
}

// start runs the helper until it has printed its directory.
func start(t *testing.T, mode string) (*exec.Cmd, string, []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envHelper+"="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var lines []string
	for s := bufio.NewScanner(out); s.Scan(); {
		if dir, ok := strings.CutPrefix(s.Text(), "dir "); ok {
			return cmd, dir, lines
		}
		lines = append(lines, s.Text())
	}
	t.Fatalf("the helper ended early: %v; it said %q", cmd.Wait(), lines)
	return nil, "", nil
}

func TestRunLeavesNothing(t *testing.T) {
	was := clean(t)
	cmd, dir, lines := start(t, "exit")
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("Run returned %v, want the inner exit code 7", err)
	}
	if want := "host " + Hostname + " pid "; len(lines) == 0 || !strings.Contains(strings.Join(lines, "\n"), want) {
		t.Errorf("inside printed %q, want %q", lines, want)
	}
	nothingLeft(t, dir, was)
}

// After a SIGKILL the starter cannot clean up: the kernel ends the processes, and
// the next sweep removes the rest.
func TestKillLeavesNothing(t *testing.T) {
	was := clean(t)
	cmd, dir, _ := start(t, "wait")
	for deadline := time.Now().Add(time.Minute); sleepers(t) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the orphan is not there, so its end would show nothing")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(time.Minute); sleepers(t) > 0 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, dir, was)
}

func TestReadOnlyRoot(t *testing.T) {
	_, _, lines := start(t, "wait")
	if !strings.Contains(strings.Join(lines, "\n"), "the root is writable") {
		t.Fatalf("the probe does not see a writable root: %q", lines)
	}
	cmd, _, lines := start(t, "readonly")
	if strings.Contains(strings.Join(lines, "\n"), "the root is writable") {
		t.Errorf("ReadOnlyRoot left / writable")
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func nothingLeft(t *testing.T, dir, key string) {
	t.Helper()
	if n := sleepers(t); n != 0 {
		t.Errorf("%d processes of the sandbox are left", n)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	if got := readKey(t); got != key {
		t.Errorf("kernel.keys.root_maxkeys is %s, want %s as before", got, key)
	}
	roots, err := cgroupRoots()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range roots {
		if _, err := os.Stat(filepath.Join(root, filepath.Base(dir))); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the cgroup %s is left in %s: %v", filepath.Base(dir), root, err)
		}
	}
}

// clean sweeps up what the test before has killed, and returns the setting.
func clean(t *testing.T) string {
	t.Helper()
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	return readKey(t)
}

func readKey(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/kernel/keys/root_maxkeys")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// sleepers counts the orphans that helpers left to PID 1.
func sleepers(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil && string(b) == "sleep\x007919\x00" {
			n++
		}
	}
	return n
}

// Two runs at once: the second must not take the first one's kernel for the
// machine's.
func TestRunsSideBySide(t *testing.T) {
	was := clean(t)
	first, dir1, _ := start(t, "wait")
	second, dir2, _ := start(t, "wait")
	for _, cmd := range []*exec.Cmd{first, second} {
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if cmd == first {
			if err := Sweep(); err != nil {
				t.Fatal(err)
			}
			if got := readKey(t); got == was {
				t.Errorf("the end of the first run took the second one's setting away")
			}
		}
	}
	for deadline := time.Now().Add(time.Minute); sleepers(t) > 0 && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
	}
	if err := Sweep(); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, dir1, was)
	nothingLeft(t, dir2, was)
}
