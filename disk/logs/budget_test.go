package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

func mkdir(t *testing.T, dir string) int {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func makeFiles(t *testing.T, fd, n int, name func(int) string) {
	t.Helper()
	for i := range n {
		f, err := unix.Openat(fd, name(i), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(f)
	}
}

func makeDirs(t *testing.T, fd, n int, name func(int) string) {
	t.Helper()
	for i := range n {
		if err := unix.Mkdirat(fd, name(i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever names the owner of a directory makes: memory is bounded, the pods'
// logs and the largest log are known, and what is left out is counted.
func TestScanBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 30,000 files and directories")
	}
	short := func(i int) string { return fmt.Sprintf("n%07d.log", i) }
	long := func(i int) string { return fmt.Sprintf("%07d", i) + strings.Repeat("x", 240) + ".log" }
	for name, tt := range map[string]struct {
		make   func(t *testing.T, dir string)
		reason string
		least  int // is left out
	}{
		"12,000 names": {func(t *testing.T, dir string) {
			makeFiles(t, mkdir(t, dir), 12_000, short)
		}, skipSummed, 10_000},
		"5,000 long names": {func(t *testing.T, dir string) {
			makeFiles(t, mkdir(t, dir), 5_000, long)
		}, skipSummed, 3_000},
		"2,500 directories with a name each": {func(t *testing.T, dir string) {
			fd := mkdir(t, dir)
			makeDirs(t, fd, 2_500, short)
			for i := range 2_500 {
				makeFiles(t, fd, 1, func(int) string { return short(i) + "/" + short(i) })
			}
		}, skipSummed, 1},
		"5,000 directories": {func(t *testing.T, dir string) {
			makeDirs(t, mkdir(t, dir), 5_000, short)
		}, skipTooMany, 2_000},
		"1,000 directories 3.8 kB deep": {func(t *testing.T, dir string) {
			fd := mkdir(t, dir)
			part := strings.Repeat("d", 250)
			for range 14 {
				if err := unix.Mkdirat(fd, part, 0o755); err != nil {
					t.Fatal(err)
				}
				below, err := unix.Openat(fd, part, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = unix.Close(below) })
				fd = below
			}
			makeDirs(t, fd, 1_000, short)
		}, skipTooMany, 400},
		"80 directories 60 deep": {func(t *testing.T, dir string) {
			for i := range 80 {
				mkdirAll(t, filepath.Join(dir, short(i), strings.Repeat("d/", 58)))
			}
		}, skipTooMany, 1},
	} {
		t.Run(name, func(t *testing.T) {
			host := t.TempDir()
			root := hostfs.Root(disktest.OpenRoot(t, host))
			disktest.Append(t, filepath.Join(host, "var/log/pods", disktest.PodA, "0.log"), 100)
			disktest.Append(t, filepath.Join(host, "var/log/syslog"), 100)
			tt.make(t, filepath.Join(host, "var/log/app"))
			disktest.Append(t, filepath.Join(host, "var/log/app/big.log"), 1<<20)

			tr := newTree()
			var rows []Producer
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			began := time.Now()
			written := map[string]uint64{}
			var files map[hostfs.Inode]*logFile
			var watches map[watched]*logFile
			// The second pass remembers, the third lists everything again.
			for i := range 3 {
				now := time.Now().Add(time.Duration(i) * time.Hour)
				if err := tr.Update(root, now, i == 2); err != nil {
					t.Fatal(err)
				}
				next := map[string]uint64{}
				rows = tr.Producers(60, written, next)
				written = next
				if got := tr.Skipped[tt.reason]; got < tt.least {
					t.Errorf("pass %d: %d left out, want at least %d: %v", i, got, tt.least, tr.Skipped)
				}
			}
			files, watches = logFiles(map[string]*Tree{"/var/log": tr}, nil)
			runtime.GC()
			runtime.ReadMemStats(&after)
			grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
			t.Logf("%d KiB in %v, %d bytes counted, %v", grown>>10, time.Since(began), tr.budget.used+tr.others, tr.Skipped)
			if most := int64(subtreeBytes + 1<<20); grown > most {
				t.Errorf("the heap grew by %d KiB, want at most %d", grown>>10, most>>10)
			}
			known := map[string]bool{}
			for _, p := range rows {
				known[p.Path] = true
			}
			for _, p := range []string{"/var/log/pods/" + disktest.PodA, "/var/log/syslog", "/var/log/app/big.log"} {
				if !known[p] {
					t.Errorf("%s is left out", p)
				}
			}
			runtime.KeepAlive(files)
			runtime.KeepAlive(watches)
			runtime.KeepAlive(written)
		})
	}
}

func mkdirAll(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// What a directory took is given back when it is gone: the budget is of what is
// there, not of what has ever been there.
func TestScanBudgetIsGivenBack(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	disktest.Append(t, filepath.Join(host, "var/log/syslog"), 100)
	tr := newTree()
	now := time.Now()
	update := func() int64 {
		t.Helper()
		now = now.Add(time.Minute)
		if err := tr.Update(root, now, false); err != nil {
			t.Fatal(err)
		}
		return tr.budget.used + tr.others
	}
	base := update()
	for i := range 3 {
		dir := filepath.Join(host, fmt.Sprintf("var/log/app%d", i))
		makeDirs(t, mkdir(t, dir), 500, func(i int) string { return fmt.Sprintf("n%07d", i) })
		if got := update(); got <= base {
			t.Errorf("%d bytes with 500 directories, %d without", got, base)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if got := update(); got != base {
			t.Errorf("%d bytes after they were removed, want %d", got, base)
		}
	}
}
