package tracefs

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/errnotest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// lineOf returns a line as the kernel prints it.
func lineOf(comm []byte, tid, errno int) []byte {
	return fmt.Appendf(nil, "%16s-%-7d [001] ..... 14526.197980: sys_inotify_init1 -> 0x%x\n", comm, tid, uint64(-int64(errno)))
}

// failEnv makes the test binary a program whose inotify calls fail. It stays until
// its input ends.
const failEnv = "NODETUNE_TEST_FAIL"

func TestMain(m *testing.M) {
	if how := os.Getenv(failEnv); how != "" {
		fail(how)
		return
	}
	os.Exit(m.Run())
}

const times = 100

func fail(how string) {
	fmt.Fprintln(os.Stdout, errnotest.Fail(how, times))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// mounted mounts a tracefs for this test.
func mounted(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func instances(t *testing.T, dir string) (ours []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(dir, "instances"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), fmt.Sprint(prefix, os.Getpid(), "-")) || strings.HasPrefix(e.Name(), prefix+"1-") {
			ours = append(ours, e.Name())
		}
	}
	return ours
}

// TestFailures: failures are reported while the process lives, and Close leaves
// nothing behind.
func TestFailures(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "512") // root may have hundreds
	dir := mounted(t)
	stale := filepath.Join(dir, "instances", prefix+"1-99999999999") // of a process that has ended
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir, "/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if names := instances(t, dir); len(names) != 1 || !strings.HasPrefix(filepath.Base(r.dir), names[0]) {
		t.Errorf("instances %q: want the stale one gone and ours there", names)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		how  string
		as   *syscall.SysProcAttr
		want inotify.SyscallFailure
	}{
		{errnotest.Instances, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 70391, Gid: 70391}}, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, UID: 70391, Limit: inotify.NoLimit}},
		{errnotest.NOFILE, nil, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.NOFILE, Used: 40, Limit: 40}},
		{errnotest.WatchesOfMaker, errnotest.Below(), inotify.SyscallFailure{Call: inotify.CallAddWatch, Errno: 28, Resource: inotify.Watches, UID: errnotest.Other, Limit: inotify.NoLimit}},
		{errnotest.OpenFiles, nil, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 23, Resource: inotify.OpenFiles, Limit: inotify.NoLimit}},
		{errnotest.Path, nil, inotify.SyscallFailure{Call: inotify.CallAddWatch, Errno: 2, Limit: inotify.NoLimit}},
		{errnotest.Memory, nil, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 12, Resource: inotify.Memory, Limit: inotify.NoLimit}},
		{errnotest.WatchesMemory, nil, inotify.SyscallFailure{Call: inotify.CallAddWatch, Errno: 12, Resource: inotify.Memory, Limit: inotify.NoLimit}},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = []string{self}
		cmd.Env = append(os.Environ(), failEnv+"="+c.how, "GOMAXPROCS=1")
		if strings.HasSuffix(c.how, errnotest.Memory) {
			cmd.Env = append(cmd.Env, errnotest.Cgroup(t)...)
		}
		cmd.Dir = "/"
		cmd.SysProcAttr = c.as
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "<nil>\n" {
			t.Fatalf("%s: %s%v", c.how, line, err)
		}
		all, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range all {
			if f.PID != cmd.Process.Pid {
				continue // of another process
			}
			found = true
			if time.Since(f.At) > time.Minute || f.Cgroup == "" {
				t.Errorf("%s: got %+v", c.how, f)
			}
			c.want.PID, c.want.At, c.want.Cgroup, c.want.Comm, c.want.Count = f.PID, f.At, f.Cgroup, "exe", times
			if f != c.want {
				t.Errorf("%s: got %+v\nwant %+v", c.how, f, c.want)
			}
		}
		if !found {
			t.Errorf("%s: not reported: %+v", c.how, all)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if names := instances(t, dir); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

// TestNoTracefs: the error states how to mount tracefs.
func TestNoTracefs(t *testing.T) {
	if _, err := Open(t.TempDir(), "/proc"); err == nil || !strings.Contains(err.Error(), "mount -t tracefs") {
		t.Errorf("got %v", err)
	}
}
