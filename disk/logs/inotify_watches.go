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

// instance notes an inotify instance, whose watches are read after the walk.
func (s *ProcSnapshot) instance(p *procwalk.Process, fd int) {
	st, err := p.Stat()
	if err != nil {
		return
	}
	cgroup, _ := p.Cgroup() // without it the instance is not known to be small
	who := s.who(p)
	s.holders = append(s.holders, who)
	s.held = append(s.held, instances.Descriptor{
		Process: len(s.holders) - 1, TID: p.TID, Start: who.start, FD: fd,
		Effort: st.CPUTicks, Cgroup: string(cgroup),
	})
}

// ReadWatches reads what is watched, or takes it from an earlier pass where a
// record is not to be read now.
func (s *ProcSnapshot) ReadWatches(ctx context.Context, r *instances.Reader, now time.Time) {
	all, _, _ := r.Distinct(s.held) // one that is counted twice is read twice
	files := make([][]watched, len(all))
	out := r.Count(ctx, now, s.held, all, watchBudget, func(i int, w procwalk.Watch) {
		if len(files[i]) < manyWatches {
			files[i] = append(files[i], watched{w.Dev, w.Ino})
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
