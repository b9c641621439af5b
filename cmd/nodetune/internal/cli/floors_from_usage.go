package cli

import (
	"context"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/procscan"
	"github.com/nodetune/nodetune/sysctl"
)

// floorsFromUsage are the floors that what is in use asks for: a limit that is nearly
// used up stops the next collector, whatever the configuration thought enough.
func floorsFromUsage(u inotify.Usage, p inotify.Policy) []sysctl.Need {
	var needs []sysctl.Need
	for _, f := range inotify.Floors(u, p) {
		needs = append(needs, sysctl.Need{Key: sysctl.Key(f.Key), AtLeast: sysctl.Value(f.AtLeast), Why: f.Reason, FromUse: true})
	}
	return needs
}

// withFloorsFromUsage returns rules with the floors that what is in use asks for. Where
// nothing can be counted the floors of the configuration hold.
func withFloorsFromUsage(ctx context.Context, roots host.Roots, rules []sysctl.Rule, p inotify.Policy) []sysctl.Rule {
	if !mayExceedFloor(roots, rules, p) {
		return rules
	}
	return sysctl.WithNeeds(rules, floorsFromUsage(accounting.Once(ctx, roots, p).Value, p))
}

// mayExceedFloor reports whether some account could use so much that its limit is
// to be above the floor that rules give it. It avoids a walk over /proc, which
// costs more than the rest of apply: 0.1 ms for each process.
func mayExceedFloor(roots host.Roots, rules []sysctl.Rule, p inotify.Policy) bool {
	instances, watches, ok := procscan.UpperBound(roots.Procfs, roots.Sysfs)
	if !ok {
		return true
	}
	most := map[sysctl.Key]int64{sysctl.MaxUserInstances: instances, sysctl.MaxUserWatches: watches}
	for _, r := range rules {
		if used, ok := most[r.Key]; ok && r.Op == sysctl.AtLeast && p.FloorFor(used) > int64(r.Want) {
			return true
		}
	}
	return false
}
