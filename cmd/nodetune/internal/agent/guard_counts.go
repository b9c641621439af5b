package agent

import (
	"maps"
	"slices"

	"github.com/nodetune/nodetune/reporter/metrics"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/guard"
)

// counts are for the metrics: the mode, and the writes of each managed key.
func (t *guardTask) counts() (sysctl.GuardMode, []metrics.SysctlWrites) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.counted
	if t.guard != nil {
		if now, err := t.guard.Counts(); err == nil {
			all = added(all, now)
		}
	}
	keys := make(map[sysctl.Key]bool, len(all)+len(t.floors))
	for k := range all {
		keys[k] = true
	}
	for k := range t.floors {
		keys[k] = true
	}
	series := make([]metrics.SysctlWrites, 0, len(keys))
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		c := all[k]
		series = append(series, metrics.SysctlWrites{Key: k, Lowered: c.Lowered, Raised: c.Raised, Unchanged: c.Same, Unread: c.Unread, Held: c.Held})
	}
	return t.mode, series
}

// added returns the sum of two counts of each key.
func added(a, b map[sysctl.Key]guard.Counts) map[sysctl.Key]guard.Counts {
	sum := maps.Clone(a)
	for k, c := range b {
		s := sum[k]
		s.Lowered, s.Raised, s.Same, s.Unread = s.Lowered+c.Lowered, s.Raised+c.Raised, s.Same+c.Same, s.Unread+c.Unread
		s.Held, s.Suppressed = s.Held+c.Held, s.Suppressed+c.Suppressed
		sum[k] = s
	}
	return sum
}
