package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// floorsEvery is how often every key is read again: six pread(2)s, some 10 us.
// A collector restarts with a back-off of minutes, so half a minute below the
// floor costs it one restart at most.
const floorsEvery = 30 * time.Second

// floorsTask holds the sysctls. It keeps every descriptor it needs open, since
// nothing can be opened any more when fs.file-max is used up.
type floorsTask struct {
	agent  *agent
	procfs string
	store  *sysctl.Store
	act    bool

	mu       sync.Mutex          // a surge does not wait for the task
	early    []sysctl.PassResult // what now has seen, and nobody has told yet
	tree     *sysctl.Tree
	machine  sysctl.Machine
	last     sysctl.PassResult
	contests sysctl.Conflicts
	evidence evidence
}

func (f *floorsTask) pass(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, err := f.write(ctx)
	if err != nil {
		f.agent.latest.Put(func(s *reporter.Snapshot) {
			s.Sysctl = reporter.Result[sysctl.PassResult]{At: time.Now(), Err: err}
		})
		f.agent.said()
		return err
	}
	now := time.Now()
	configured := f.agent.config.Load().Sysctl.For(f.machine)
	for _, seen := range append(f.early, seen) {
		f.contests = f.contests.Observe(&seen, now, func(r sysctl.Rule) string { return f.evidence.about(r, now) })
		f.agent.metrics.CountSysctl(f.last, seen)
		logSysctl(f.agent.log, f.last, seen)
		f.agent.tellRaised(configured, seen)
		f.last = seen
	}
	f.early = nil
	f.agent.latest.Put(func(s *reporter.Snapshot) {
		s.Sysctl = reporter.Result[sysctl.PassResult]{Value: f.last, At: now}
	})
	f.agent.said()
	return nil
}

// now writes what is asked for in the goroutine of whoever cannot wait, and
// leaves the rest of a pass to the next one. It reports whether it has changed
// anything.
func (f *floorsTask) now(ctx context.Context) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, err := f.write(ctx)
	if err != nil {
		return false
	}
	f.early = append(f.early, seen)
	f.agent.floors.soon()
	return slices.ContainsFunc(seen.Rules, func(s sysctl.Status) bool { return s.Changed })
}

// write is the part of a pass that reads and writes the settings.
func (f *floorsTask) write(ctx context.Context) (sysctl.PassResult, error) {
	if err := f.open(); err != nil {
		return sysctl.PassResult{}, err
	}
	rules := sysctl.WithNeeds(f.agent.config.Load().Sysctl.For(f.machine), f.agent.needs.asked())
	f.tree.Hold(rules)
	locked, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	return sysctl.Pass{
		Procfs: f.procfs, Tree: f.tree, Store: f.store, Rules: rules,
		Act: f.act, Deferred: f.contests.Deferred(time.Now()),
	}.Run(locked), nil
}

// open opens what is not open yet, and looks at the machine again: memory can
// be added while it runs.
func (f *floorsTask) open() error {
	if m, err := sysctl.ReadMachine(f.procfs); err == nil {
		f.machine = m
	} else if f.machine == (sysctl.Machine{}) {
		return err
	}
	if f.tree != nil {
		return nil
	}
	tree, err := sysctl.OpenTree(f.procfs)
	if err != nil {
		return err
	}
	f.tree = tree
	return nil
}
