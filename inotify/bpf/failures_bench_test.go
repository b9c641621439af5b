package bpf

import (
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify/tracefs"
	"github.com/nodetune/nodetune/internal/privtest"
)

// benchmarkRounds is how often each way is measured, in turn with the others.
const benchmarkRounds = 15

// BenchmarkFailures measures system calls while failures are traced in each way that
// the kernel has, and while they are not. It reports the median of 15 rounds in
// which the ways take turns. "off_again" is a second measurement of "off": a
// difference below that between these two is noise. "spread_off" is the difference
// between the quartiles of "off".
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
	calls := []struct {
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
	}
	sources := benchmarkSources(b)
	took := map[string]map[string][]float64{} // by call and source
	for _, c := range calls {
		took[c.name] = map[string][]float64{}
	}
	for range benchmarkRounds {
		for _, s := range sources {
			r, err := s.open()
			if err != nil {
				b.Fatal(s.name, err)
			}
			for _, c := range calls {
				took[c.name][s.name] = append(took[c.name][s.name], leastOf(c.call))
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, c := range calls {
		b.Run(c.name, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			for _, s := range sources {
				all := took[c.name][s.name]
				slices.Sort(all)
				b.ReportMetric(all[len(all)/2], "ns-"+s.name)
				if s.name == "off" {
					b.ReportMetric(all[len(all)*3/4]-all[len(all)/4], "ns-spread_off")
				}
			}
		})
	}
}

type closer interface{ Close() error }

type benchmarkSource struct {
	name string
	open func() (closer, error)
}

// benchmarkSources returns the ways that open on this kernel.
func benchmarkSources(b *testing.B) []benchmarkSource {
	nothing := func() (closer, error) { return os.Open("/dev/null") }
	sources := []benchmarkSource{{"off", nothing}, {"off_again", nothing}}
	types := NewTypes()
	b.Cleanup(types.Close)
	for _, way := range AllWays() {
		open := func() (closer, error) { return OpenFailureCounter("/proc", types, way) }
		c, err := open()
		if err != nil {
			b.Log(err)
			continue
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
		sources = append(sources, benchmarkSource{strings.ReplaceAll(string(way), " ", "_"), open})
	}
	return append(sources, benchmarkSource{"tracefs", func() (closer, error) { return tracefs.Open("/sys/kernel/tracing", "/proc") }})
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
