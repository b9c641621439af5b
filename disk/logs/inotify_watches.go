package logs

import (
	"context"
	"time"

	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// manyWatches are those of an instance that is no collector with a watch per
// log. Reading them would hold up its owner for 20 ms.
const manyWatches = 10_000

// watchBudget is what reading who watches which log may cost.
var watchBudget = instances.Budget{AccountLimit: -1, MaxRead: manyWatches, Percent: 1}

// Bounds of the descriptors of inotify instances that are kept, some 500 bytes each with
// what is read of them. A collector has one to ten. A process that has more uses up what
// all may have beside their first ones.
const (
	maxInstances        = 8_192
	maxSharedInstances  = 4_096
	maxProcessInstances = 256
	firstInstances      = 16
)

// instanceBound counts what is kept.
type instanceBound struct {
	all, shared, ofProcess int
	full                   bool // also of a process that has none yet: then it is not known who watches
}

// take reports whether another one of the process may be kept, and counts it.
func (b *instanceBound) take() bool {
	b.full = b.full || b.all >= maxInstances
	first := b.ofProcess < firstInstances
	if b.full || b.ofProcess >= maxProcessInstances || !first && b.shared >= maxSharedInstances {
		return false
	}
	b.all++
	b.ofProcess++
	if !first {
		b.shared++
	}
	return true
}

// sameInstance reports whether two descriptors of a thread lead to one instance,
// kcmp(2).
func sameInstance(tid, a, b int) bool {
	order, err := procwalk.CompareFile(tid, a, tid, b)
	return err == nil && order == procwalk.Same
}

// instance notes an inotify instance, whose watches are read after the walk. A
// descriptor that dup(2) made of the one before is left out.
func (s *ProcSnapshot) instance(p *procwalk.Process, fd int) {
	st, err := p.Stat()
	if err != nil {
		return
	}
	if s.last != nil && s.last.TID == p.TID && s.same != nil && s.same(p.TID, s.last.FD, fd) {
		return
	}
	if s.nameBytes >= maxNameBytes {
		s.bound.full = true
	}
	if !s.bound.take() {
		s.Omitted[OmittedInstances]++
		return
	}
	who := s.who(p) // and its cgroup: without that the instance is not known to be small
	s.holders = append(s.holders, who)
	s.held = append(s.held, instances.Descriptor{
		Process: len(s.holders) - 1, TID: p.TID, Start: who.start, FD: fd,
		Effort: st.CPUTicks, Cgroup: s.cgroup,
	})
	last := s.held[len(s.held)-1]
	s.last = &last
}

// ReadWatches reads what is watched, or takes it from an earlier pass where a
// record is not to be read now.
func (s *ProcSnapshot) ReadWatches(ctx context.Context, r *instances.Reader, now time.Time) {
	all, _, _ := r.Distinct(s.held) // one that is counted twice is read twice
	files := make([][]watched, len(all))
	out := r.Count(ctx, now, s.held, all, watchBudget, func(i int, w procwalk.Watch) {
		if len(files[i]) < manyWatches {
			files[i] = append(files[i], watched{SDev: w.Dev, Ino: w.Ino})
		}
	})
	s.Unread = out.Unknown
	for i, in := range all {
		c := &counted{files: files[i]}
		for _, h := range in.Holders {
			if old := s.follow.instances[s.instanceOf(h)]; old != nil && !in.Read {
				c = old
			}
		}
		c.seen = true
		for _, h := range in.Holders {
			s.follow.instances[s.instanceOf(h)] = c
			s.watches = append(s.watches, watching{s.holders[s.held[h].Process], c.files})
		}
	}
}

func (s *ProcSnapshot) instanceOf(held int) instance {
	d := &s.held[held]
	return instance{d.TID, d.Start, d.FD}
}
