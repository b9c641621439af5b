package procscan

import (
	"context"
	"fmt"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/instances"
)

// countWatches counts the watches of the instances, as far as the policy lets
// it, and sums the node's.
func (p *pass) countWatches(ctx context.Context, u *inotify.Usage, all []instances.Instance) []counted {
	in := make([]counted, len(all))
	for i := range all {
		in[i] = counted{Instance: &all[i], quality: inotify.Unknown}
	}
	if !p.s.policy.CountWatches {
		u.WatchesQuality = inotify.Unknown
		p.gap("watches", "countWatches is off")
		return in
	}
	out := p.s.reader.Count(ctx, p.at, p.holdings, all, instances.Budget{
		AccountLimit: int64(u.Limits.Watches),
		MaxRead:      p.s.policy.MaxReadWatches,
		Percent:      p.s.policy.CountPercent,
	}, nil)
	fresh, last := true, -1
	for i := range in {
		switch {
		case all[i].Read:
			in[i].quality = inotify.Exact
		case all[i].Known:
			in[i].quality, fresh = inotify.Estimate, false
		default:
			last = i
		}
		u.Watches += all[i].Watches
	}
	u.WatchesQuality = inotify.Estimate
	switch {
	case out.Unknown == 0:
	case out.Node < 0:
		u.WatchesQuality = inotify.Unknown
	default:
		u.Watches, u.WatchesQuality = max(u.Watches, out.Node), inotify.UpperBound
		if out.Unknown == 1 && last >= 0 {
			// What is left over is that of the last one.
			in[last].Watches, in[last].quality = out.Left, inotify.Estimate
			if fresh {
				in[last].quality = inotify.UpperBound
			}
		}
	}
	p.notCounted(out)
	return in
}

// counted is an instance and what its watches are worth.
type counted struct {
	*instances.Instance
	quality inotify.Quality
}

// notCounted lists what was not read, with the reason.
func (p *pass) notCounted(out instances.Outcome) {
	const what = "the watches of large instances now; the last count is given with its age, if there is one"
	for _, g := range []struct {
		n   int
		why string
	}{
		{out.TooMuch, fmt.Sprintf("the kernel would format up to %d watches in memory that is charged to nodetune, whose memory cgroup has %d MiB to spare for it; a higher memory limit or the eBPF source avoids that", out.Left, out.SpareBytes>>20)},
		{out.TooLarge, fmt.Sprintf("reading more than maxReadWatches %d holds up the owner's inotify_add_watch", p.s.policy.MaxReadWatches)},
		{out.Later, fmt.Sprintf("counting may take countPercent %g of a core, so large instances are read less often", p.s.policy.CountPercent)},
		{out.Unreadable, fmt.Sprintf("read PID/fdinfo: %v", out.RefusedWith)},
	} {
		if g.n > 0 {
			p.gaps = append(p.gaps, inotify.Gap{What: what, Why: g.why, Processes: g.n})
		}
	}
}
