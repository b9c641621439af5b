package procscan

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/instances"
)

// usage makes one pass, and returns by how much the heap has grown.
func usage(t *testing.T, s *Scanner) (u inotify.Usage, grown int64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(s)
	return u, int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

func gap(u inotify.Usage, what string) (processes int) {
	for _, g := range u.Unknown {
		if g.What == what {
			processes += g.Processes
		}
	}
	return processes
}

// One instance is one, however often a process has dup'ed it.
func TestDuplicatesBudget(t *testing.T) {
	const copies = 15_000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < copies+100 {
		t.Fatalf("RLIMIT_NOFILE is %d, the test needs %d", limit.Max, copies+100)
	}
	raised := limit
	raised.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
	s, err := New("/proc", "/sys", inotify.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, _ = usage(t, s) // what is kept of all other processes
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	fds := []int{fd}
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	})
	for range copies {
		d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, d)
	}
	u, grown := usage(t, s)
	own, ok := u.Process(os.Getpid())
	want := int64(1)
	if !s.reader.NewCollector(nil).Compares() || !s.walker.InHostPIDNamespace() {
		want = instances.MaxPerProcess
	}
	if !ok || own.Instances != want || own.FDs < copies {
		t.Errorf("%+v, want %d instances", own, want)
	}
	if grown > 4<<20 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
	t.Logf("%d KiB in %v", grown>>10, u.Took)
}

// Many processes of one user, each in a cgroup with a long name: memory is
// bounded, another user's process is listed, and the rest is counted.
func TestProcessBudget(t *testing.T) {
	procfs := t.TempDir()
	process := func(pid, uid int, cgroup string) {
		dir := filepath.Join(procfs, strconv.Itoa(pid))
		if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"stat":   fmt.Sprintf("%d (holder) S 1 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 %d 0 0\n", pid, pid) + strings.Repeat(" 0", 30),
			"status": fmt.Sprintf("Name:\tholder\nUid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid),
			"cgroup": "0::" + cgroup + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, fd := range []string{"3", "4"} {
			if err := os.Symlink(target, filepath.Join(dir, "fd", fd)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(procfs, "self/ns"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(procfs, "self/ns/user"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const flood = maxOwnerProcesses + 300
	for i := range flood {
		process(1000+i, 65534, fmt.Sprintf("/%07d", i)+strings.Repeat("/"+strings.Repeat("c", 200), 18))
	}
	process(9000, 1000, "/system.slice/collector.service")
	s, err := New(procfs, t.TempDir(), inotify.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for pass := range 2 {
		u, grown := usage(t, s)
		if _, ok := u.Process(9000); !ok {
			t.Errorf("pass %d: the other user's process is left out: %d processes, %+v", pass, len(u.Processes), u.Unknown)
		}
		if got := gap(u, gapProcesses); got != flood-maxOwnerProcesses {
			t.Errorf("pass %d: %d processes are counted as left out, want %d", pass, got, flood-maxOwnerProcesses)
		}
		if gap(u, gapCgroups) == 0 && pass == 0 {
			t.Errorf("pass %d: no cgroup is left out: %+v", pass, u.Unknown)
		}
		if grown > 10<<20 {
			t.Errorf("pass %d: the heap grew by %d KiB", pass, grown>>10)
		}
		t.Logf("pass %d: %d KiB in %v", pass, grown>>10, u.Took)
	}
}
