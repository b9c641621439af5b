package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/privtest"
)

// failEnv makes the test binary a program whose inotify fails in one way, so
// many times: "HOW TIMES". It prints its pid in the initial pid namespace.
const failEnv = "NODETUNE_TEST_FAIL"

func fail(how string) int {
	how, times, _ := strings.Cut(how, " ")
	n, _ := strconv.Atoi(times)
	if err := failAs(how, n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func failAs(how string, n int) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	call := func() error { _, err := unix.InotifyInit1(unix.IN_CLOEXEC); return err }
	watch := func(path string) func() error {
		return func() error { _, err := unix.InotifyAddWatch(fd, path, unix.IN_CREATE); return err }
	}
	want := unix.EMFILE
	switch how {
	case "instances", "namespace":
	case "nofile":
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 40, Max: 40}); err != nil {
			return err
		}
	case "file-max":
		want = unix.ENFILE
		restore, err := noFiles()
		if err != nil {
			return err
		}
		defer restore()
	case "watches":
		call, want = watch("/proc"), unix.ENOSPC
		for _, path := range []string{"/", "/usr", "/etc"} {
			_ = watch(path)()
		}
	case "path":
		call, want = watch("/nonexistent"), unix.ENOENT
	}
	err = nil
	for err == nil {
		err = call() // what it gets before it is refused
	}
	for range n - 1 {
		if errors.Is(err, want) {
			err = call()
		}
	}
	if !errors.Is(err, want) {
		return fmt.Errorf("got %w, want %w", err, want)
	}
	return nil
}

// noFiles lowers fs.file-max below what is open, until restore, and gives up what
// this thread is exempt by.
func noFiles() (restore func(), err error) {
	f, err := os.OpenFile("/proc/sys/fs/file-max", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	was := make([]byte, 32)
	n, err := f.ReadAt(was, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	runtime.LockOSThread()
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return nil, err
	}
	if _, err := f.WriteAt([]byte("64"), 0); err != nil {
		return nil, err
	}
	return func() { _, _ = f.WriteAt(was[:n], 0) }, nil
}

// refusing runs a program that fails, and returns what was read of it.
func refusing(t *testing.T, r *Refusals, how string, times int, as ...string) []inotify.Refusal {
	t.Helper()
	args := append(as, executable(t))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", failEnv, how, times), "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", how, err, out)
	}
	all, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	var found []inotify.Refusal
	for _, f := range all {
		if f.Comm == "bpf.test" && f.PID != os.Getpid() {
			found = append(found, f)
		}
	}
	return found
}

func openRefusals(t testing.TB) *Refusals {
	t.Helper()
	mountTracefs(t)
	r, err := OpenRefusals("/proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// mountTracefs does what systemd does, where there is none.
func mountTracefs(t testing.TB) {
	t.Helper()
	const dir = "/sys/kernel/tracing"
	if _, err := os.Stat(dir + "/events"); err == nil {
		return
	}
	if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// TestRefusals: each kind of refusal is told with what has refused it.
func TestRefusals(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	r := openRefusals(t)
	const uid = 70381
	// Root of a user namespace may lower what its users may have.
	in := func(key string) []string {
		return []string{"unshare", "--user", "--map-root-user", "sh", "-c", `echo 3 > /proc/sys/user/` + key + ` && exec "$0"`}
	}
	for _, c := range []struct {
		how  string
		as   []string
		want inotify.Refusal
	}{
		{"instances", as(uid, ""), inotify.Refusal{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Owner: &inotify.Owner{UserNS: initialNS, UID: uid}, Used: 128, Limit: 128, UID: uid}},
		{"namespace", in("max_inotify_instances"), inotify.Refusal{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Owner: &inotify.Owner{UID: 0}, Level: 1, Used: 3, Limit: 3}},
		{"nofile", nil, inotify.Refusal{Call: inotify.CallInit, Errno: 24, Resource: inotify.NOFILE, Used: 40, Limit: 40}},
		{"watches", in("max_inotify_watches"), inotify.Refusal{Call: inotify.CallAddWatch, Errno: 28, Resource: inotify.Watches, Owner: &inotify.Owner{UID: 0}, Level: 1, Used: 3, Limit: 3}},
		{"file-max", nil, inotify.Refusal{Call: inotify.CallInit, Errno: 23, Resource: inotify.OpenFiles, Limit: inotify.NoLimit}},
		{"path", nil, inotify.Refusal{Call: inotify.CallAddWatch, Errno: 2, Limit: inotify.NoLimit}},
	} {
		got := refusing(t, r, c.how, 1000, c.as...)
		if len(got) != 1 {
			t.Errorf("%s: got %+v", c.how, got)
			continue
		}
		g := got[0]
		if (g.Owner == nil) != (c.want.Owner == nil) || g.Owner != nil && (g.Owner.UID != c.want.Owner.UID || c.want.Owner.UserNS != 0 && g.Owner.UserNS != c.want.Owner.UserNS) {
			t.Errorf("%s: of %+v, want %+v", c.how, g.Owner, c.want.Owner)
		}
		if g.Count != 1000 || g.PID == 0 || time.Since(g.At) > time.Minute {
			t.Errorf("%s: got %+v, want 1000 of now", c.how, g)
		}
		g.Owner, c.want.Owner = nil, nil
		c.want.Count, c.want.PID, c.want.At, c.want.Comm, c.want.Cgroup = g.Count, g.PID, g.At, "bpf.test", g.Cgroup
		if g != c.want {
			t.Errorf("%s: got %+v\nwant %+v", c.how, g, c.want)
		}
		t.Logf("%s: in %q", c.how, g.Cgroup)
	}
}
