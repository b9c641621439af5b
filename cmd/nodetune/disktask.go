package main

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
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

// diskTask sees who fills the logs' disk and who reads the logs.
type diskTask struct {
	agent   *agent
	options *options

	observer *disk.Observer
	policy   disk.Policy
	took     time.Duration
	unseen   sync.Once
}

func (t *diskTask) every() time.Duration {
	return min(max(diskEvery, time.Duration(float64(t.took)/diskShare)), usageSeldom)
}

func (t *diskTask) pass(ctx context.Context) error {
	began := time.Now()
	u, err := t.observe(ctx, began)
	now := time.Now()
	t.took = now.Sub(began)
	if errors.Is(err, fs.ErrNotExist) {
		t.unseen.Do(func() {
			t.agent.log.Info("no mounts are seen, so disks and logs are not observed; the floors are held", "path.procfs", t.options.procfs)
		})
		return nil
	}
	if err != nil {
		t.agent.log.Error("cannot observe disks and logs", "err", err)
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
		o, err := disk.New(t.options.procfs, t.options.sysfs, t.options.rootfs, policy)
		if err != nil {
			return disk.Usage{}, err
		}
		t.observer, t.policy = o, policy
	}
	return t.observer.Observe(ctx, now)
}
