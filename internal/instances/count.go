package instances

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/nodetune/nodetune/internal/procwalk"
)

// Budget is what counting may cost.
type Budget struct {
	// AccountLimit is fs.inotify.max_user_watches: no instance has more. A
	// negative number is not known.
	AccountLimit int64
	// MaxRead is the largest instance that is read, in watches.
	MaxRead int64
	// Percent is the share of a core that reading may take between passes.
	Percent float64
}

// Outcome says what a pass could not count, in instances.
type Outcome struct {
	Unknown int // that have never been counted
	// Left is the most watches that are not counted; -1 where the kernel
	// does not say how many there are.
	Left int64
	// Node is the most watches there are, or -1.
	Node int64

	TooLarge    int   // not read, since the owner would be held up
	TooMuch     int   // not read, since the kernel would charge us for the record
	SpareBytes  int64 // which may take this much
	Later       int   // not read now
	Unreadable  int   // refused by the kernel
	RefusedWith error // one of the refusals
}

// Count sets the watches of the instances, from their records or from what is
// remembered, and shows the watches of the records that are read to each, if
// that is not nil.
func (r *Reader) Count(ctx context.Context, at time.Time, descriptors []Descriptor, all []Instance, b Budget, each func(instance int, w procwalk.Watch)) Outcome {
	if !r.last.IsZero() {
		r.credit = min(maxCredit, r.credit+time.Duration(float64(at.Sub(r.last))*b.Percent/100))
	}
	r.last = at
	if len(all) == 0 {
		clear(r.by)
		return Outcome{Node: -1}
	}
	p := &readBudget{
		node: r.marks.count(), limit: b.AccountLimit, maxRead: b.MaxRead,
		left: len(all), unknown: len(all),
		budget: r.memory.free() / 2, credit: r.credit,
	}
	if p.limit < 0 {
		p.limit = math.MaxInt32
	}
	out := Outcome{Node: p.node, SpareBytes: p.budget, Left: -1}
	candidates := r.candidates(p, at, descriptors, all)
	if p.unaccounted() > largeWatches {
		// Only now, for it costs a file per cgroup.
		r.memory.byCgroup(descriptors, all, candidates)
	}
	for _, i := range order(candidates) {
		if ctx.Err() != nil {
			break
		}
		if !p.allow(candidates[i]) {
			continue
		}
		var show func(procwalk.Watch)
		if each != nil {
			show = func(w procwalk.Watch) { each(i, w) }
		}
		if err := r.read(p, at, descriptors, &all[i], candidates[i], show); err != nil && !procwalk.Gone(err) {
			out.Unreadable++
			out.RefusedWith = err
		}
	}
	r.credit = p.credit
	for k, c := range r.by {
		if c.pass != at {
			delete(r.by, k)
		}
	}
	out.Unknown, out.TooLarge, out.TooMuch, out.Later = p.unknown, p.tooLarge, p.tooMuch, p.later
	if p.node >= 0 {
		out.Left = p.unaccounted()
	}
	return out
}

// candidates looks up what is remembered.
func (r *Reader) candidates(p *readBudget, at time.Time, descriptors []Descriptor, all []Instance) []candidate {
	candidates := make([]candidate, len(all))
	for i := range all {
		in, c := &all[i], &candidates[i]
		c.bound = math.MaxInt32
		var newest *count
		for _, h := range in.Holders {
			c.effort = max(c.effort, descriptors[h].Effort)
			if k := r.by[descriptors[h].key()]; k != nil && (newest == nil || k.at.After(newest.at)) {
				newest = k
			}
		}
		if newest == nil {
			continue
		}
		in.Known, in.Watches, in.Age = true, newest.watches, at.Sub(newest.at)
		c.known, c.watches, c.age = true, newest.watches, in.Age
		c.effort -= min(c.effort, newest.effort)
		r.remember(descriptors, in, newest, at)
		p.counted += newest.watches
		p.unknown--
	}
	return candidates
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

// remember keeps a count with every descriptor of the instance, so that it
// outlives the process that it was read from.
func (r *Reader) remember(descriptors []Descriptor, in *Instance, k *count, at time.Time) {
	k.pass = at
	for _, h := range in.Holders {
		r.by[descriptors[h].key()] = k
	}
}

// read reads the record of an instance through its first holder. That this has
// not become another process with the same number within the pass is not
// checked: its descriptor would have to be an inotify instance too.
func (r *Reader) read(p *readBudget, at time.Time, descriptors []Descriptor, in *Instance, c candidate, show func(procwalk.Watch)) error {
	d := &descriptors[in.Holders[0]]
	process, err := r.walker.Open(d.TID)
	if err != nil {
		return err
	}
	began := time.Now()
	n, err := process.Watches(d.FD, show)
	process.Close()
	if err != nil {
		return err
	}
	p.read(c, int64(n), time.Since(began))
	in.Watches, in.Known, in.Read, in.Age = int64(n), true, true, 0
	k := r.by[d.key()]
	if k == nil {
		k = &count{}
	}
	k.watches, k.at, k.effort = int64(n), began, 0
	for _, h := range in.Holders {
		k.effort = max(k.effort, descriptors[h].Effort)
	}
	r.remember(descriptors, in, k, at)
	return nil
}
