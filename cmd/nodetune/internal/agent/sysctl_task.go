package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// sysctlInterval is how often every key is read again: six pread(2)s, some 10 us.
// A collector restarts with a back-off of minutes, so half a minute below the
// floor costs it one restart at most.
const sysctlInterval = 30 * time.Second

// sysctlTask holds the sysctls. It keeps every descriptor it needs open, since
// nothing can be opened any more when fs.file-max is used up.
type sysctlTask struct {
	agent  *Agent
	procfs string
	store  *sysctl.Store
	act    bool

	mu          sync.Mutex          // a surge does not wait for the task
	unpublished []sysctl.PassResult // results of writeNow that no pass has published
	began       time.Time           // when the first write began that no pass has published
	tree        *sysctl.Tree
	machine     sysctl.Machine
	last        sysctl.PassResult
	conflicts   sysctl.Conflicts
	evidence    conflictEvidence
}

func (f *sysctlTask) pass(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, err := f.write(ctx)
	if err != nil {
		f.agent.latest.Update(func(s *reporter.Snapshot) {
			s.Sysctl = reporter.Result[sysctl.PassResult]{At: time.Now(), Err: err}
		})
		f.agent.publish()
		return err
	}
	now := time.Now()
	configured := f.agent.config.Load().Sysctl.For(f.machine)
	for _, seen := range append(f.unpublished, seen) {
		f.conflicts = f.conflicts.Observe(&seen, now, func(r sysctl.Rule) string { return f.evidence.about(r, f.agent.guard.loweredBy(r.Key, now), now) })
		f.agent.metrics.CountSysctl(f.last, seen)
		logSysctl(f.agent.log, f.last, seen)
		f.agent.acts.Add(reporter.SysctlActs(f.last, seen, func(k sysctl.Key) string { return f.agent.guard.loweredBy(k, now) }, now)...)
		f.agent.notifyLimitRaised(configured, seen, f.began)
		f.last = seen
	}
	f.unpublished, f.began = nil, time.Time{}
	annotate(&f.last, f.agent.guard.published())
	f.agent.latest.Update(func(s *reporter.Snapshot) {
		s.Sysctl = reporter.Result[sysctl.PassResult]{Value: f.last, At: now}
	})
	f.agent.publish()
	return nil
}

// writeNow writes what is asked for in the goroutine of a caller that cannot wait, and
// leaves the rest of a pass to the next one. It reports whether it has changed
// anything.
func (f *sysctlTask) writeNow(ctx context.Context) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, err := f.write(ctx)
	if err != nil {
		return false
	}
	f.unpublished = append(f.unpublished, seen)
	f.agent.sysctlTask.requestPass()
	return slices.ContainsFunc(seen.Rules, func(s sysctl.Status) bool { return s.Changed })
}

// write is the part of a pass that reads and writes the settings.
func (f *sysctlTask) write(ctx context.Context) (sysctl.PassResult, error) {
	if err := f.open(); err != nil {
		return sysctl.PassResult{}, err
	}
	rules := sysctl.WithNeeds(f.agent.config.Load().Sysctl.For(f.machine), f.agent.floorRequests.requested())
	if f.began.IsZero() {
		f.began = time.Now()
	}
	f.tree.Hold(rules)
	locked, cancel := context.WithTimeout(ctx, LockWait)
	defer cancel()
	return sysctl.Pass{
		Procfs: f.procfs, Tree: f.tree, Store: f.store, Rules: rules,
		Act: f.act, Deferred: f.conflicts.Deferred(time.Now()),
	}.Run(locked), nil
}

// open opens what is not open yet, and looks at the machine again: memory can
// be added while it runs.
func (f *sysctlTask) open() error {
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

// LockWait is how long a command waits for another nodetune's pass, which takes
// milliseconds: what holds the lock longer is stuck.
const LockWait = 30 * time.Second
