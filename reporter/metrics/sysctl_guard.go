package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/sysctl"
)

var (
	guardMode = desc("nodetune_sysctl_guard",
		"1 for what happens to a write of a managed key by another program: off (the next pass finds it), observe (it is recorded, and undone at once) or hold (the floor takes effect).", "mode")
	writesObserved = desc("nodetune_sysctl_writes_observed_total",
		"Writes of the key by other programs, as the guard saw them: lowered, raised, unchanged, or unread where a value is not a number.", "key", "direction")
	writesHeld = desc("nodetune_sysctl_writes_held_total",
		"Writes below the floor of the key that the guard did not let take effect.", "key")
)

// SysctlWrites are the writes of one key by other programs.
type SysctlWrites struct {
	Key                                sysctl.Key
	Lowered, Raised, Unchanged, Unread uint64
	Held                               uint64 // of all of these
}

// Guard are the metrics of the sysctl guard.
type Guard struct {
	read func() (sysctl.GuardMode, []SysctlWrites)
}

// NewGuard returns the metrics over what read returns: the mode, and counts that
// never fall, of each managed key.
func NewGuard(read func() (sysctl.GuardMode, []SysctlWrites)) *Guard { return &Guard{read} }

// Describe is of [prometheus.Collector].
func (g *Guard) Describe(ch chan<- *prometheus.Desc) {
	ch <- guardMode
	ch <- writesObserved
	ch <- writesHeld
}

// Collect is of [prometheus.Collector].
func (g *Guard) Collect(ch chan<- prometheus.Metric) {
	is, all := g.read()
	for _, mode := range sysctl.GuardModes {
		gauge(ch, guardMode, boolToFloat(mode == is), string(mode))
	}
	for _, w := range all {
		for direction, n := range map[string]uint64{"lowered": w.Lowered, "raised": w.Raised, "unchanged": w.Unchanged, "unread": w.Unread} {
			counter(ch, writesObserved, float64(n), string(w.Key), direction)
		}
		counter(ch, writesHeld, float64(w.Held), string(w.Key))
	}
}
