package main

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/reporter"
)

const (
	// diskEvery is how often the kubelet looks at its disks (eviction manager)
	// and at the sizes of logs: who wants to be earlier looks as often.
	diskEvery = 10 * time.Second
	// diskShare bounds what that costs, as usageShare does.
	diskShare = 0.005
)

// Who reads the logs is looked up in a walk of /proc, which is most of what a
// pass costs (60 ms of CPU with 500 processes and 10,000 watches): seldom while
// every log is read and no disk fills, soon otherwise, and soon after the start.
const (
	readersIdle = 2 * time.Minute
	readersNear = 30 * time.Second
)

// diskTask sees who fills the logs' disk and who reads the logs.
type diskTask struct {
	agent *agent
	roots Roots

	observer *disk.Observer
	policy   disk.Policy
	since    time.Time     // of the observer's first pass
	cost     time.Duration // CPU time of the last pass
	unseen   sync.Once
	grants   []disk.Finding // that were missing in the pass before
}

// logGrants says what newly keeps disk.mode from being carried out.
func (t *diskTask) logGrants(all []disk.Finding) {
	var missing []disk.Finding
	for _, f := range all {
		if f.Reason != disk.FindingCannotAct {
			continue
		}
		if !slices.Contains(t.grants, f) {
			t.agent.log.Warn("disk.mode needs a privilege that is missing", "message", f.Message, "do", f.Do)
		}
		missing = append(missing, f)
	}
	t.grants = missing
}

func (t *diskTask) every() time.Duration {
	seldom := usageSeldom
	if t.agent.config.Load().Disk.Mode != disk.Observe {
		// Nothing is done upon an older look, and what is done meanwhile, which
		// the process's CPU time has too, must not keep it from being taken.
		seldom = freshUsage / 2
	}
	return min(max(diskEvery, time.Duration(float64(t.cost)/diskShare)), seldom)
}

func (t *diskTask) pass(ctx context.Context) error {
	before := cpuTime()
	u, err := t.observe(ctx, time.Now())
	now := time.Now()
	t.cost = cpuTime() - before
	if errors.Is(err, fs.ErrNotExist) {
		t.unseen.Do(func() {
			t.agent.log.Info("no mounts found; disks and logs are not observed", "path.procfs", t.roots.Procfs)
		})
		return nil
	}
	if err == nil {
		t.logGrants(u.Findings)
		t.agent.tellVictims(t.roots.Rootfs, now)
	}
	t.agent.latest.Put(func(s *reporter.Snapshot) {
		s.Disk = reporter.Result[disk.Usage]{Value: u, At: now, Err: err}
	})
	t.agent.said()
	return err
}

// observe makes one pass with the policy in force. A new policy begins anew:
// growth and stalls are known again after some passes.
func (t *diskTask) observe(ctx context.Context, now time.Time) (disk.Usage, error) {
	policy := t.agent.config.Load().Disk
	if t.observer != nil && !reflect.DeepEqual(t.policy, policy) {
		_ = t.observer.Close()
		t.observer = nil
	}
	if t.observer == nil {
		o, err := disk.New(t.roots.Procfs, t.roots.Sysfs, t.roots.Rootfs, policy)
		if err != nil {
			return disk.Usage{}, err
		}
		t.observer, t.policy, t.since = o, policy, now
	}
	u, err := t.observer.Observe(ctx, now)
	t.observer.WalkEvery = readersIdle
	// It takes two looks to see that somebody stands still.
	young := now.Sub(t.since) < 2*readersNear
	if young || u.Pressure.Level != disk.Clear || u.Reading.Level != disk.Clear {
		t.observer.WalkEvery = readersNear
	}
	return u, err
}
