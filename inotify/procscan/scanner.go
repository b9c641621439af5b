package procscan

import (
	"context"
	"fmt"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// Scanner counts by walking procfs. It remembers what it counted, so keep one;
// it is not safe for concurrent use.
type Scanner struct {
	policy        inotify.Policy
	procfs        string
	walker        *procwalk.Walker
	limits        *limitFiles
	ns            namespaces
	known         map[int]*knownProcess
	reader        *instances.Reader
	accountSource inotify.AccountSource // or nil
	holderSource  inotify.HolderSource  // or nil
	queues        queues
	// whole is false where only the processes of a pid namespace are seen.
	whole bool
	// within bounds the walk of one pass; 0 is no bound. unfinished is the walk that the
	// next pass resumes, or nil, and last the usage after the last complete one, at lastAt.
	within     time.Duration
	unfinished *pass
	last       *inotify.Usage
	lastAt     time.Time
	now        func() time.Time

	cgroups     map[string]string // paths of those that are known, each once
	cgroupBytes int

	holdings []instances.Descriptor // reused
	scratch  []listed               // reused
	accounts map[inotify.Owner]int  // reused
}

// knownProcess is what is remembered of a process until its program changes.
type knownProcess struct {
	start   uint64
	comm    string
	cgroup  string
	belongs workload.Workload
	pass    time.Time // that last met it
}

// New opens a procfs and a sysfs mount.
func New(procfs, sysfs string, p inotify.Policy) (*Scanner, error) {
	w, err := procwalk.New(procfs)
	if err != nil {
		return nil, err
	}
	self, err := ownUserNS(procfs)
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	return &Scanner{
		policy: p, procfs: procfs,
		walker:   w,
		limits:   openLimits(procfs),
		ns:       namespaces{self: self, chain: map[uint64][]inotify.Owner{}},
		known:    map[int]*knownProcess{},
		reader:   instances.NewReader(w, procfs, sysfs),
		accounts: map[inotify.Owner]int{},
		queues:   queues{},
		now:      time.Now,
		cgroups:  map[string]string{},
		whole:    !w.InHostPIDNamespace() || procwalk.InInitialPIDNamespace(procfs),
	}, nil
}

// Close closes what NewScanner opened.
func (s *Scanner) Close() error {
	s.limits.close()
	return s.walker.Close()
}

// Usage counts once: it asks who holds what, see [Scanner.SetHolders], or walks
// procfs. The error is that of ctx or of a procfs that cannot be listed;
// processes that could not be read are in Usage.Unknown.
func (s *Scanner) Usage(ctx context.Context) (inotify.Usage, error) {
	began := s.now()
	u := inotify.Usage{Source: inotify.SourceProcfs, HoldersSource: inotify.SourceProcfs, Limits: s.limits.read()}
	p, found := s.unfinished, false
	if p == nil {
		p = s.newPass(began)
		found = p.scanKernel(&u)
		p.holdersReason = u.HoldersReason
	}
	s.unfinished = nil
	u.HoldersReason = p.holdersReason
	if !found {
		if err := p.walk(ctx, began); err != nil {
			return inotify.Usage{}, fmt.Errorf("walk %s: %w", s.procfs, err)
		}
		if p.stats.Next > 0 {
			return s.partial(ctx, u, p, began)
		}
		u.Walk = p.stats
		p.holdings = p.found.All
		reading, done := s.reading(ctx)
		p.addTotals(&u, p.countWatches(reading, &u, p.distinct(&u)))
		done()
	}
	if !p.readAccounts(&u) {
		p.noteEstimates(found)
		if err := s.probe(&u); err != nil {
			p.gap("exact headroom", err.Error())
		}
	}
	u.Unknown = append(u.Unknown, p.gaps...)
	s.holdings, s.scratch = p.found.All, p.processes
	s.forget(p.at)
	u.Took = s.now().Sub(began)
	s.last = nil
	if s.within > 0 && !found {
		last := u
		s.last, s.lastAt = &last, began
	}
	return u, ctx.Err()
}

func (s *Scanner) newPass(at time.Time) *pass {
	clear(s.ns.chain)
	return &pass{s: s, at: at, processes: s.scratch[:0], found: s.reader.NewCollector(s.holdings), owners: map[uint32]int{}}
}

// forget drops the processes that the last pass did not list.
func (s *Scanner) forget(pass time.Time) {
	for pid, k := range s.known {
		if k.pass != pass {
			delete(s.known, pid)
		}
	}
	clear(s.cgroups)
	s.cgroupBytes = 0
	for _, k := range s.known {
		if _, ok := s.cgroups[k.cgroup]; !ok {
			s.cgroups[k.cgroup] = k.cgroup
			s.cgroupBytes += len(k.cgroup)
		}
	}
}
