package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/errnotest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// failEnv makes the test binary a program whose inotify calls fail: "HOW TIMES".
const failEnv = "NODETUNE_TEST_FAIL"

func fail(how string) int {
	how, times, _ := strings.Cut(how, " ")
	n, _ := strconv.Atoi(times)
	if rest, ok := strings.CutPrefix(how, realUID); ok {
		how = rest
		if err := syscall.Setresuid(otherUID+1, otherUID, otherUID); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := errnotest.Fail(how, n); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// realUID before a way to fail gives the process otherUID as its effective uid, and
// another real uid.
const (
	realUID  = "real-uid-differs:"
	otherUID = 70383
)

// failing runs a program whose calls fail, and returns its records.
func failing(t *testing.T, c *FailureCounter, how string, times int, as *syscall.SysProcAttr) []inotify.SyscallFailure {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), executable(t))
	cmd.Dir, cmd.SysProcAttr = "/", as
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", failEnv, how, times), "GOMAXPROCS=1")
	if strings.HasSuffix(how, errnotest.Memory) {
		cmd.Env = append(cmd.Env, errnotest.Cgroup(t)...)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", how, err, out)
	}
	all, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	var found []inotify.SyscallFailure
	for _, f := range all {
		if f.Comm == "bpf.test" && f.PID != os.Getpid() {
			found = append(found, f)
		}
	}
	return found
}

// waysEnv has the ways that the kernel must have, and no others. Without it, a test
// tries those that open.
const waysEnv = "NODETUNE_TEST_WAYS"

// eachWay runs a test in each way that the kernel has.
func eachWay(t *testing.T, run func(t *testing.T, c *FailureCounter)) {
	t.Helper()
	mountTracefs(t)
	must, fixed := os.LookupEnv(waysEnv)
	for _, way := range AllWays() {
		has := slices.Contains(strings.Fields(must), string(way))
		c, err := OpenFailureCounter("/proc", NewTypes(), way)
		switch {
		case err != nil && (has || way == Tracepoint):
			t.Error(err)
		case err != nil:
			if !strings.HasPrefix(err.Error(), string(way)+": ") {
				t.Errorf("the reason does not begin with the way: %v", err)
			}
			t.Logf("this kernel has not: %v", err)
		case fixed && !has:
			t.Errorf("this kernel has %s, want only %s", way, must)
			_ = c.Close()
		default:
			t.Run(string(way), func(t *testing.T) {
				if got, reason := c.Way(); got != way || reason != nil {
					t.Errorf("opened as %s, because %v", got, reason)
				}
				run(t, c)
			})
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// mountTracefs mounts tracefs where no init system has done so.
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

// TestFailures: each way reports each kind of failure with the limit that was
// reached.
func TestFailures(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "512") // root may have hundreds
	eachWay(t, testFailures)
}

func testFailures(t *testing.T, counter *FailureCounter) {
	const uid, times = 70381, 200
	ofUser := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	for _, c := range []struct {
		how  string
		as   *syscall.SysProcAttr
		want inotify.SyscallFailure
	}{
		{errnotest.Instances, ofUser, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Owner: &inotify.Owner{UserNS: initialNS, UID: uid}, Used: 512, Limit: 512, UID: uid}},
		{realUID + errnotest.Instances, nil, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Owner: &inotify.Owner{UserNS: initialNS, UID: otherUID}, Used: 512, Limit: 512, UID: otherUID}},
		{errnotest.InstancesBelow, errnotest.Below(), inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Owner: &inotify.Owner{UID: 0}, Level: 1, Used: 3, Limit: 3}},
		{errnotest.NOFILE, nil, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.NOFILE, Used: 40, Limit: 40}},
		{errnotest.WatchesBelow, errnotest.Below(), inotify.SyscallFailure{Call: inotify.CallAddWatch, Errno: 28, Resource: inotify.Watches, Owner: &inotify.Owner{UID: 0}, Level: 1, Used: 3, Limit: 3}},
		{errnotest.WatchesOfMaker, errnotest.Below(), inotify.SyscallFailure{Call: inotify.CallAddWatch, Errno: 28, Resource: inotify.Watches, Owner: &inotify.Owner{UID: 0}, Level: 1, Used: 3, Limit: 3, UID: errnotest.Other}},
		{errnotest.OpenFiles, nil, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 23, Resource: inotify.OpenFiles, Limit: inotify.NoLimit}},
		{errnotest.Path, nil, inotify.SyscallFailure{Call: inotify.CallAddWatch, Errno: 2, Limit: inotify.NoLimit}},
		{errnotest.Memory, nil, inotify.SyscallFailure{Call: inotify.CallInit, Errno: 12, Resource: inotify.Memory, Limit: inotify.NoLimit}},
		{errnotest.WatchesMemory, nil, inotify.SyscallFailure{Call: inotify.CallAddWatch, Errno: 12, Resource: inotify.Memory, Limit: inotify.NoLimit}},
	} {
		t.Run(c.how, func(t *testing.T) { // without memory not on each kernel
			got := failing(t, counter, c.how, times, c.as)
			if len(got) != 1 {
				t.Errorf("got %+v", got)
				return
			}
			g := got[0]
			if (g.Owner == nil) != (c.want.Owner == nil) || g.Owner != nil && (g.Owner.UID != c.want.Owner.UID || c.want.Owner.UserNS != 0 && g.Owner.UserNS != c.want.Owner.UserNS) {
				t.Errorf("got account %+v, want %+v", g.Owner, c.want.Owner)
			}
			if g.Count != times || g.PID == 0 || time.Since(g.At) > time.Minute {
				t.Errorf("got %+v, want %d calls just now", g, times)
			}
			g.Owner, c.want.Owner = nil, nil
			c.want.Count, c.want.PID, c.want.At, c.want.Comm, c.want.Cgroup = g.Count, g.PID, g.At, "bpf.test", g.Cgroup
			if g != c.want {
				t.Errorf("got %+v\nwant %+v", g, c.want)
			}
			t.Logf("in %q", g.Cgroup)
		})
	}
}
