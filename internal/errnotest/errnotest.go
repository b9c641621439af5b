// Package errnotest makes calls of inotify fail, each in the way that the
// kernel has for it, for tests of the code that reports such failures.
package errnotest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ways to fail. What they need beforehand is the caller's.
const (
	Instances      = "instances"       // EMFILE: max_user_instances of its uid
	InstancesBelow = "instances-below" // EMFILE: 3 in the user namespace of Below
	NOFILE         = "nofile"          // EMFILE: RLIMIT_NOFILE, 40
	OpenFiles      = "open-files"      // ENFILE: fs.file-max; the node has no file more meanwhile
	Memory         = "memory"          // ENOMEM: the memory cgroup of Cgroup
	WatchesBelow   = "watches-below"   // ENOSPC: 3 in the user namespace of Below
	WatchesOfMaker = "watches-maker"   // ENOSPC: the same, as Other and with an instance that root has made there
	WatchesMemory  = "watches-memory"  // ENOMEM: as Memory
	Path           = "path"            // ENOENT: no limit
)

// Other is who uid 1 of the user namespace of Below is outside.
const Other = 70382

// Below starts a process in a user namespace of its own, one level down.
func Below() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: Other, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}},
	}
}

// cgroupEnv names the memory cgroup of a process that has no memory.
const cgroupEnv = "NODETUNE_TEST_CGROUP"

// Cgroup returns the environment for a process that is to fail with Memory or
// WatchesMemory, until t ends.
func Cgroup(t *testing.T) []string {
	t.Helper()
	const v1 = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(v1 + "/memory.oom_control"); err != nil {
		t.Skipf("cgroup v2 kills who has no memory, and no call fails: %v", err)
	}
	dir, err := os.MkdirTemp(v1, "nodetune-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 100 { // until the kernel has let go of the last process
			if err = os.Remove(dir); err == nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Error(err)
	})
	if err := os.WriteFile(filepath.Join(dir, "memory.oom_control"), []byte("1"), 0); err != nil { // the kernel kills no process
		t.Fatal(err)
	}
	return []string{cgroupEnv + "=" + dir}
}

// Fail makes calls until n have failed in this way.
func Fail(how string, n int) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	// Raw, since a process without memory may ask for none: neither for a path
	// nor for a thread that does the work of one that waits.
	call := func() unix.Errno {
		_, _, err := unix.RawSyscall(unix.SYS_INOTIFY_INIT1, unix.IN_CLOEXEC, 0, 0)
		return err
	}
	watch := func(path string) func() unix.Errno {
		p := &append([]byte(path), 0)[0]
		return func() unix.Errno {
			_, _, err := unix.RawSyscall(unix.SYS_INOTIFY_ADD_WATCH, uintptr(fd), uintptr(unsafe.Pointer(p)), unix.IN_CREATE)
			return err
		}
	}
	want, restore := unix.EMFILE, func() error { return nil }
	switch how {
	case Instances:
	case InstancesBelow:
		err = lower("max_inotify_instances")
	case NOFILE:
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 40, Max: 40})
	case OpenFiles:
		want = unix.ENFILE
		restore, err = noFiles()
	case WatchesBelow, WatchesOfMaker:
		err = lower("max_inotify_watches")
		if err == nil && how == WatchesOfMaker {
			err = syscall.Setresuid(1, 1, 1)
		}
		call, want = watch("/proc"), unix.ENOSPC
		for _, path := range []string{"/", "/usr", "/etc"} {
			_ = watch(path)()
		}
	case Memory:
		want = unix.ENOMEM
		restore, err = noMemory()
	case WatchesMemory:
		var all []func() unix.Errno // a watch that is there needs no memory
		names, _ := filepath.Glob("/usr/bin/*")
		for _, name := range names {
			all = append(all, watch(name))
		}
		call = func() unix.Errno {
			err := all[0]()
			if err == 0 && len(all) > 1 {
				all = all[1:]
			}
			return err
		}
		want = unix.ENOMEM
		restore, err = noMemory()
	case Path:
		call, want = watch("/nonexistent"), unix.ENOENT
	default:
		err = errors.New("no such way")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", how, err)
	}
	var got unix.Errno
	for failed, made := 0, 0; failed < n && made < 100_000 && (got == 0 || got == want); {
		if got = call(); got == want {
			failed++
		} else {
			made++ // what it gets before, and of memory now and then
		}
	}
	if err := restore(); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s: got %w, want %w", how, got, want)
	}
	return nil
}

// lower sets a limit of the user namespace that this process has to itself to 3.
func lower(key string) error {
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), strconv.Itoa(Other)) {
		return fmt.Errorf("not in a user namespace of its own, but in that of %s", b)
	}
	return os.WriteFile("/proc/sys/user/"+key, []byte("3"), 0)
}

// noFiles lowers fs.file-max below what is open, until restore, and gives up what
// this thread is exempt by.
func noFiles() (restore func() error, err error) {
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
	return func() error { _, err := f.WriteAt(was[:n], 0); return err }, nil
}

// noMemory makes the kernel charge what this process asks for to a cgroup that
// may have nothing, until restore. A thread that touches a new page meanwhile waits
// until restore is called.
func noMemory() (restore func() error, err error) {
	cgroup := os.Getenv(cgroupEnv)
	limit, err := unix.Open(filepath.Join(cgroup, "memory.limit_in_bytes"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	procs, err := unix.Open(filepath.Join(cgroup, "cgroup.procs"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	write := func(fd int, value []byte) error {
		for {
			_, _, err := unix.RawSyscall6(unix.SYS_PWRITE64, uintptr(fd), uintptr(unsafe.Pointer(&value[0])), uintptr(len(value)), 0, 0, 0)
			switch err {
			case 0:
				return nil
			case unix.EINTR: // the runtime preempts a busy thread by a signal, and the kernel changes no limit with a signal pending
			default:
				return fmt.Errorf("write %s for %s: %w", value, cgroup, err)
			}
		}
	}
	self, nothing, everything := []byte("0"), []byte("0"), []byte("-1")
	debug.SetGCPercent(-1)
	if err := unix.Mlockall(unix.MCL_CURRENT); err != nil {
		return nil, err
	}
	// The limit comes first: a group that another thread of this process has charged
	// takes no limit of nothing (EBUSY).
	if err := write(limit, nothing); err != nil {
		return nil, err
	}
	restore = func() error { return write(limit, everything) }
	if err := write(procs, self); err != nil {
		return nil, errors.Join(err, restore())
	}
	return restore, nil
}
