package logs

import "testing"

// However many instances some processes have, one that comes later has its own kept,
// unless there are more processes than a node runs.
func TestInstanceBound(t *testing.T) {
	for name, tt := range map[string]struct {
		processes, each int // of a tenant, before a collector with 10
		kept            int // of all, at most
		collector       int
		full            bool
	}{
		"a node":                        {400, 10, 4_010, 10, false},
		"a leak":                        {1, 1_000_000, maxProcessInstances + 10, 10, false},
		"leaks in 100 processes":        {100, 8_000, maxSharedInstances + 100*firstInstances + 10, 10, false},
		"more processes than are known": {4_000, 20, maxInstances, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var b instanceBound
			kept := func(n int) (kept int) {
				b.ofProcess = 0
				for range n {
					if b.take() {
						kept++
					}
				}
				return kept
			}
			for range tt.processes {
				kept(tt.each)
			}
			if n := kept(10); n != tt.collector || b.full != tt.full || b.all > tt.kept {
				t.Errorf("%d of the collector are kept, %d in all, full: %v; want %d, %d, %v", n, b.all, b.full, tt.collector, tt.kept, tt.full)
			}
		})
	}
}
