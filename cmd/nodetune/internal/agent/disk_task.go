package agent

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/health"
)

const (
	// diskInterval is how often the kubelet looks at its disks (eviction manager)
	// and at the sizes of logs: who wants to be earlier looks as often.
	diskInterval = 10 * time.Second
	// maxDiskCPUShare bounds what that costs, as maxCPUShare does.
	maxDiskCPUShare = 0.005
)

// A pass finds the readers of logs in the kernel's descriptor tables, or in a walk of
// /proc, which is most of its cost (60 ms of CPU with 500 processes and 10,000 watches).
// The interval of walks is long while
// every log is read and no disk fills, and short otherwise and after the start.
const (
	readersIdleInterval = 2 * time.Minute
	readersBusyInterval = 30 * time.Second
	// resumeInterval is when a walk goes on that a pass had no time for (walkWithin). With
	// 640,000 descriptors and a tenth of a processor it took more than five minutes at 20 s,
	// after which nothing is known of readers.
	resumeInterval = 10 * time.Second
)

// diskTask sees who fills the logs' disk and who reads the logs.
type diskTask struct {
	agent *Agent
	roots host.Roots

	observer          *disk.Observer
	policy            disk.Policy
	unfinished        bool          // a later pass goes on with a walk
	since             time.Time     // of the observer's first pass
	cost              time.Duration // CPU time of the last pass
	noMounts          sync.Once
	loggedSource      disk.ReadersSource // of readers, as it was logged
	passes            int                // of all observers
	missingPrivileges []disk.Finding     // that were missing in the pass before
}

// logMissingPrivileges logs each new reason why disk.mode cannot be carried out.
func (t *diskTask) logMissingPrivileges(all []disk.Finding) {
	var missing []disk.Finding
	for _, f := range all {
		if f.Reason != disk.FindingCannotAct {
			continue
		}
		if !slices.Contains(t.missingPrivileges, f) {
			t.agent.log.Warn("disk.mode needs a privilege that is missing", "message", f.Message, "do", f.Do)
		}
		missing = append(missing, f)
	}
	t.missingPrivileges = missing
}

// logReadersSource logs where the readers are from, when that changes. The first pass of
// an observer does not know the log directories yet, and another task may not have opened
// the source: the second pass shows whether there is one.
func (t *diskTask) logReadersSource(source disk.ReadersSource) {
	t.passes++
	if source == t.loggedSource || source.ReadersFrom == "" || t.passes == 1 {
		return
	}
	t.loggedSource = source
	t.agent.log.Info("finding the readers of logs", "source", source.ReadersFrom, "reason", source.ReadersReason)
}

func (t *diskTask) interval() time.Duration {
	longest := maxInterval
	if t.agent.config.Load().Disk.Mode != disk.Observe {
		// Nothing is done upon an older measurement. The cost includes the CPU
		// time of actions, which must not delay the next measurement beyond that.
		longest = maxUsageAge / 2
	}
	if t.unfinished { // what is known of readers becomes old
		longest = min(longest, resumeInterval)
	}
	return min(max(diskInterval, time.Duration(float64(t.cost)/maxDiskCPUShare)), longest)
}

func (t *diskTask) pass(ctx context.Context) error {
	before := cpuTime()
	u, err := t.observe(ctx, time.Now())
	now := time.Now()
	t.cost = cpuTime() - before
	if errors.Is(err, fs.ErrNotExist) {
		t.noMounts.Do(func() {
			t.agent.log.Info("no mounts found; disks and logs are not observed", "path.procfs", t.roots.Procfs)
		})
		return health.ErrIdle
	}
	if err == nil {
		t.logMissingPrivileges(u.Findings)
		t.agent.notifyAffectedPods(ctx, t.roots.Rootfs, now)
	}
	t.agent.latest.Update(func(s *reporter.Snapshot) {
		s.Disk = reporter.Result[disk.Usage]{Value: u, At: now, Err: err}
	})
	t.agent.publish()
	return err
}

// observe makes one pass with the policy in force. A new policy starts a new
// observer: growth and stalls are known again after some passes.
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
		o.OpenFiles = t.agent
		o.WalkWithin, o.ResumeAfter = walkWithin, resumeInterval
		t.observer, t.policy, t.since = o, policy, now
	}
	u, err := t.observer.Observe(ctx, now)
	t.logReadersSource(u.Scan.ReadersSource)
	if u.Scan.ReadersFrom == disk.ReadersFromKernel {
		t.observer.WalkEvery = 0 // it takes some milliseconds
		return u, err
	}
	t.unfinished = u.Scan.Later > 0
	t.observer.WalkEvery = readersIdleInterval
	// It takes two walks to see that a reader has stopped.
	young := now.Sub(t.since) < 2*readersBusyInterval
	if young || u.Pressure.Severity != disk.Clear || u.Reading.Severity != disk.Clear {
		t.observer.WalkEvery = readersBusyInterval
	}
	return u, err
}
