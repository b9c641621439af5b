package main

import (
	"context"
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

	tree     *sysctl.Tree
	machine  sysctl.Machine
	last     sysctl.Observed
	contests sysctl.Contests
	evidence evidence
}

func (f *floorsTask) pass(ctx context.Context) error {
	err := f.open()
	if err != nil {
		f.agent.log.Error("cannot read the kernel's settings", "err", err)
		f.agent.latest.Put(func(s *reporter.Snapshot) {
			s.Sysctl = reporter.Result[sysctl.Observed]{At: time.Now(), Err: err}
		})
		f.agent.said()
		return err
	}
	configured := f.agent.config.Load().Sysctl.For(f.machine)
	rules := sysctl.WithNeeds(configured, f.agent.needs.asked())
	f.tree.Hold(rules)
	locked, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	pass := sysctl.Pass{
		Procfs: f.procfs, Tree: f.tree, Store: f.store, Rules: rules,
		Act: f.act, Deferred: f.contests.Deferred(time.Now()),
	}
	seen := pass.Run(locked)
	now := time.Now()
	f.contests = f.contests.Observe(&seen, now, func(r sysctl.Rule) string { return f.evidence.about(r, now) })
	f.agent.metrics.CountSysctl(f.last, seen)
	logSysctl(f.agent.log, f.last, seen)
	f.agent.tellRaised(configured, seen)
	f.last = seen
	f.agent.latest.Put(func(s *reporter.Snapshot) {
		s.Sysctl = reporter.Result[sysctl.Observed]{Value: seen, At: now}
	})
	f.agent.said()
	return nil
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
