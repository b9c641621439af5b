package bpf

import (
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify/tracefs"
	"github.com/nodetune/nodetune/internal/privtest"
)

// BenchmarkFailures measures system calls while failures are traced, and while they
// are not: the least of many short runs of each in turn.
func BenchmarkFailures(b *testing.B) {
	privtest.Root(b)
	mountTracefs(b)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	type closer interface{ Close() error }
	sources := []struct {
		name string
		open func() (closer, error)
	}{
		{"off", func() (closer, error) { return os.Open("/dev/null") }},
		{"bpf", func() (closer, error) { return OpenFailureCounter("/proc") }},
		{"tracefs", func() (closer, error) { return tracefs.Open("/sys/kernel/tracing", "/proc") }},
	}
	for _, c := range []struct {
		name string
		call func()
	}{
		{"getppid", func() { unix.Getppid() }},
		{"inotify_init1+close", func() {
			if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC); err == nil {
				unix.Close(fd)
			}
		}},
		{"inotify_add_watch", func() { _, _ = unix.InotifyAddWatch(fd, "/", unix.IN_DELETE_SELF) }},
		{"failed_inotify_add_watch", func() { _, _ = unix.InotifyAddWatch(-1, "/", unix.IN_DELETE_SELF) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			least := make([]float64, len(sources))
			for i := range least {
				least[i] = math.MaxFloat64
			}
			for range 10 * b.N {
				for i, s := range sources {
					r, err := s.open()
					if err != nil {
						b.Fatal(err)
					}
					least[i] = min(least[i], leastOf(c.call))
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, s := range sources {
				b.ReportMetric(least[i], "ns-"+s.name)
			}
		})
	}
}

// leastOf returns the time of a call in the shortest of many runs, which no
// interrupt has disturbed.
func leastOf(call func()) float64 {
	const calls = 200
	least := math.MaxFloat64
	for range 200 {
		began := time.Now()
		for range calls {
			call()
		}
		least = min(least, float64(time.Since(began))/calls)
	}
	return least
}
