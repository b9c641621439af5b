package instances

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/procwalk"
)

// byEffort stands in for kcmp(2): descriptors with the same Effort are of one
// instance.
func byEffort(a, b *Descriptor) (procwalk.Order, error) {
	switch {
	case a.Effort == b.Effort:
		return procwalk.Same, nil
	case a.Effort < b.Effort:
		return procwalk.Before, nil
	}
	return procwalk.After, nil
}

func refused(_, _ *Descriptor) (procwalk.Order, error) { return 0, unix.EPERM }

func TestCollector(t *testing.T) {
	for name, tt := range map[string]struct {
		processes, fds, distinct int // of each process
		compare                  compare
		kept, omitted            int
		last                     int // kept of the last process
	}{
		"one instance, 200,000 times":        {1, 200_000, 1, byEffort, 1, 0, 1},
		"one instance in ten processes":      {10, 20_000, 1, byEffort, 10, 0, 1},
		"a leak":                             {1, 20_000, 20_000, byEffort, MaxPerProcess, 20_000 - MaxPerProcess, MaxPerProcess},
		"leaks do not hide the last process": {100, 8_000, 8_000, byEffort, 0, 0, FirstOfProcess},
		"a node":                             {400, 10, 10, byEffort, 4_000, 0, 10},
		"not to be compared":                 {1, 200_000, 1, nil, MaxPerProcess, 200_000 - MaxPerProcess, MaxPerProcess},
		"comparing is refused":               {1, 200_000, 1, refused, MaxPerProcess, 200_000 - MaxPerProcess, MaxPerProcess},
		"as many processes as there can be":  {4_000, 16, 16, byEffort, MaxInstances, 4_000*16 - MaxInstances, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Collector{process: -1, compare: tt.compare}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for p := range tt.processes {
				for fd := range tt.fds {
					c.Add(Descriptor{Process: p, TID: p + 1, FD: fd, Effort: uint64((fd * 7919) % tt.distinct)})
				}
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
				t.Errorf("the heap grew by %d KiB", grown>>10)
			}
			last := 0
			for i := range c.All {
				if c.All[i].Process == tt.processes-1 {
					last++
				}
			}
			if tt.kept > 0 && (len(c.All) != tt.kept || c.Omitted != tt.omitted) || last != tt.last || len(c.All) > MaxInstances {
				t.Errorf("%d kept, %d of the last process, %d omitted; want %d, %d, %d", len(c.All), last, c.Omitted, tt.kept, tt.last, tt.omitted)
			}
			runtime.KeepAlive(c)
		})
	}
}

// A descriptor that is closed meanwhile does not end the comparing.
func TestCollectorClosed(t *testing.T) {
	calls := 0
	c := &Collector{process: -1, compare: func(a, b *Descriptor) (procwalk.Order, error) {
		if calls++; calls == 1 {
			return 0, unix.EBADF
		}
		return byEffort(a, b)
	}}
	for fd := range 10 {
		c.Add(Descriptor{FD: fd, Effort: 1})
	}
	if c.compare == nil || len(c.All) != 2 {
		t.Errorf("%d kept, want 2", len(c.All))
	}
}
