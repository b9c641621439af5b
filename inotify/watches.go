package inotify

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nodetune/nodetune/internal/procwalk"
)

// counts remembers the watches of instances between passes.
type counts struct {
	by     map[descriptor]*count
	credit time.Duration
	last   time.Time
}

// descriptor is one descriptor of a process. When it is closed and used again
// for another instance, the count is wrong until that is read: its age says so.
type descriptor struct {
	pid   int
	start uint64
	fd    int
}

type count struct {
	watches int64
	at      time.Time
	effort  uint64    // CPU time of the holder then
	pass    time.Time // that last met it
}

// maxCredit is how much reading one pass does at most, which the first pass of
// a process has to its credit: 200,000 watches take 0.4 s.
const maxCredit = 2 * time.Second

func newCounts() counts {
	return counts{by: map[descriptor]*count{}, credit: maxCredit}
}

// countWatches sets the watches of the instances, from their records or from
// what is remembered.
func (p *pass) countWatches(ctx context.Context, u *Usage, instances []instance) {
	c := &p.s.counts
	if !p.s.policy.CountWatches {
		for i := range instances {
			instances[i].quality = Unknown
		}
		u.WatchesQuality = Unknown
		p.gap("watches", "countWatches is off")
		return
	}
	if len(instances) == 0 {
		u.WatchesQuality = Estimate
		return
	}
	if !c.last.IsZero() {
		c.credit = min(maxCredit, c.credit+time.Duration(float64(p.at.Sub(c.last))*p.s.policy.CountPercent/100))
	}
	c.last = p.at
	r := &ration{
		node: p.s.marks.count(), limit: int64(u.Limits.Watches),
		left: len(instances), unknown: len(instances), budget: p.s.memory.free() / 2,
		maxRead: p.s.policy.MaxReadWatches, credit: c.credit,
	}
	if r.limit < 0 {
		r.limit = 1<<31 - 1
	}
	candidates := p.candidates(r, instances)
	if r.unaccounted() > largeWatches {
		// Only now, for it costs a file per cgroup.
		p.boundByCgroup(instances, candidates)
	}
	for _, i := range order(candidates) {
		if ctx.Err() != nil {
			break
		}
		if r.allow(candidates[i]) {
			p.readWatches(r, candidates[i], &instances[i])
		}
	}
	c.credit = r.credit
	p.remaining(u, r, instances)
	for key, known := range c.by {
		if known.pass != p.at {
			delete(c.by, key)
		}
	}
	p.rationed(r)
}

// candidates looks up what is remembered.
func (p *pass) candidates(r *ration, instances []instance) []candidate {
	all := make([]candidate, len(instances))
	for i := range instances {
		in := &instances[i]
		all[i] = candidate{bound: math.MaxInt32}
		var newest *count
		for _, h := range in.holders {
			all[i].effort = max(all[i].effort, p.processes[p.holdings[h].process].effort)
			if k := p.s.counts.by[p.descriptor(h)]; k != nil && (newest == nil || k.at.After(newest.at)) {
				newest = k
			}
		}
		in.quality = Unknown
		if newest == nil {
			continue
		}
		all[i].known, all[i].watches, all[i].age = true, newest.watches, p.at.Sub(newest.at)
		all[i].effort -= min(all[i].effort, newest.effort)
		in.watches, in.quality, in.ageSeconds = newest.watches, Estimate, int64(all[i].age.Seconds())
		p.remember(in, newest)
		r.counted += newest.watches
		r.unknown--
	}
	return all
}

// order returns the indexes of the candidates as they are to be asked: those
// first that are least likely to have many watches more than were counted,
// and among equals those that were not asked for longest.
func order(candidates []candidate) []int {
	order := make([]int, len(candidates))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &candidates[i], &candidates[j]
		return cmp.Or(cmp.Compare(a.bound, b.bound), cmp.Compare(a.effort, b.effort), cmp.Compare(b.age, a.age), cmp.Compare(i, j))
	})
	return order
}

func (p *pass) descriptor(holding int) descriptor {
	h := p.holdings[holding]
	l := &p.processes[h.process]
	return descriptor{pid: h.tid, start: l.Start, fd: h.fd}
}

// remember keeps a count with every descriptor of the instance, so that it
// outlives the process that it was read from.
func (p *pass) remember(in *instance, k *count) {
	k.pass = p.at
	for _, h := range in.holders {
		p.s.counts.by[p.descriptor(h)] = k
	}
}

// readWatches reads the record of an instance through its first holder.
func (p *pass) readWatches(r *ration, c candidate, in *instance) {
	h := p.holdings[in.holders[0]]
	process, err := p.s.walker.Open(h.tid)
	if err == nil {
		began := time.Now()
		var n int
		n, err = process.Watches(h.fd, nil)
		process.Close()
		if err == nil {
			r.read(c, int64(n), time.Since(began))
			in.watches, in.quality, in.ageSeconds = int64(n), Exact, 0
			k := p.s.counts.by[p.descriptor(in.holders[0])]
			if k == nil {
				k = &count{}
			}
			k.watches, k.at, k.effort = int64(n), time.Now(), 0
			for _, h := range in.holders {
				k.effort = max(k.effort, p.processes[p.holdings[h].process].effort)
			}
			p.remember(in, k)
			return
		}
	}
	if !procwalk.Gone(err) {
		p.gap("watches of instances", fmt.Sprintf("read PID/fdinfo: %v", err))
	}
}

// remaining sums the node's watches, and gives what is left over to the last
// unknown instance.
func (p *pass) remaining(u *Usage, r *ration, instances []instance) {
	fresh, last := true, -1
	for i := range instances {
		switch instances[i].quality {
		case Unknown:
			last = i
		case Estimate:
			fresh = false
		}
		u.Watches += instances[i].watches
	}
	u.WatchesQuality = Estimate
	switch {
	case r.unknown == 0:
	case r.node < 0:
		u.WatchesQuality = Unknown
	case r.unknown == 1:
		in := &instances[last]
		in.watches, in.quality = r.unaccounted(), Estimate
		if fresh {
			in.quality = UpperBound
		}
		u.Watches, u.WatchesQuality = max(u.Watches, r.node), UpperBound
	default:
		u.Watches, u.WatchesQuality = max(u.Watches, r.node), UpperBound
	}
}

// rationed says what was not read, and why.
func (p *pass) rationed(r *ration) {
	const what = "the watches of large instances now; the last count is given with its age, if there is one"
	for _, g := range []struct {
		n   int
		why string
	}{
		{r.tooMuch, fmt.Sprintf("the kernel would format up to %d watches in memory that is charged to nodetune, whose memory cgroup has %d MiB to spare for it; a higher memory limit or the eBPF source avoids that", r.unaccounted(), r.budget>>20)},
		{r.tooLarge, fmt.Sprintf("reading more than maxReadWatches %d holds up the owner's inotify_add_watch", r.maxRead)},
		{r.later, fmt.Sprintf("counting may take countPercent %g of a core, and a large instance is read seldom", p.s.policy.CountPercent)},
	} {
		if g.n > 0 {
			p.gaps = append(p.gaps, Gap{What: what, Why: g.why, Processes: g.n})
		}
	}
}
