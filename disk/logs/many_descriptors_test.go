package logs

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// A process of a tenant with 19,000 descriptors of one file below a long path, and
// 200,000 of one inotify instance, or what the hard limit allows of both, takes no
// memory.
func TestManyDescriptorsForReal(t *testing.T) {
	privtest.Root(t)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	files, dups := 19_000, 200_000
	raised := unix.Rlimit{Cur: uint64(files + dups + 1000), Max: max(was.Max, uint64(files+dups+1000))}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil { // without CAP_SYS_RESOURCE: what the hard limit allows
		if was.Max < 4000 {
			t.Fatal(err)
		}
		files = min(files, int(was.Max)/4)
		dups = min(dups, int(was.Max)/2)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: was.Max, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }()
	dir := t.TempDir()
	for len(dir) < 3500 {
		dir = filepath.Join(dir, strings.Repeat("log", 80))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "app.log"))
	if err != nil {
		t.Fatal(err)
	}
	ino, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	opened := []int{int(f.Fd()), ino}
	defer func() {
		for _, fd := range opened {
			_ = unix.Close(fd)
		}
	}()
	for i := range files + dups {
		from := ino
		if i < files {
			from = int(f.Fd())
		}
		fd, err := unix.FcntlInt(uintptr(from), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		opened = append(opened, fd)
	}
	w, err := procwalk.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	r := instances.NewReader(w, "/proc", "/sys")
	tracker := NewReaderTracker(time.Hour)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := tracker.NewSnapshot(workload.NewIndex("/"))
	s.Procfs = "/proc"
	v := s.Visitor()
	enter := v.Enter
	v.Enter = func(p *procwalk.Process) bool { return p.PID == os.Getpid() && enter(p) }
	began := time.Now()
	if _, err := w.Walk(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	s.ReadWatches(t.Context(), r, time.Now())
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	total, held := after.TotalAlloc-before.TotalAlloc, len(s.held)
	t.Logf("%d descriptors: %d bytes allocated, %d openings, %d inotify descriptors kept, %v", files+dups, total, len(s.openings), held, took)
	if total > 1<<20 || held > 10 || len(s.openings) > 10 {
		t.Errorf("%d bytes allocated, %d openings, %d inotify descriptors", total, len(s.openings), held)
	}
}
