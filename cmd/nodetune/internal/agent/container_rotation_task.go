package agent

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/containerlog"
	"github.com/nodetune/nodetune/disk/cri"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/health"
)

// containerRotationTask rotates logs of containers that outgrow their limit between two
// looks of the kubelet.
type containerRotationTask struct {
	*diskActions
	rotator   *containerlog.Rotator
	runtime   *cri.Client
	kubelet   hostconfig.Kubelet
	wait      time.Duration
	lastDial  time.Time
	finishing atomic.Bool
}

func (t *containerRotationTask) interval() time.Duration {
	switch _, ok := t.allowed(); {
	case !ok:
		return reclaimInterval
	case t.rotator == nil: // until the first look at the host
		return time.Second
	}
	return containerlog.PollInterval
}

func (t *containerRotationTask) pass(ctx context.Context) error {
	policy, ok := t.allowed()
	now := time.Now()
	u, fresh := t.usage(now)
	if !ok || !fresh {
		return health.ErrIdle
	}
	if u.Kubelet == nil {
		if u.PodsWithoutKubelet() {
			t.recordError(logdir.Action{Verb: logdir.ActionRotate, Path: "containers' logs", Error: "no kubelet was found on this host: its limits are not known"})
		}
		return health.ErrIdle
	}
	why := u.Kubelet.Error // its limits are not known, nor how many archives it keeps
	if why == "" && policy.Mode == disk.Assist && u.Kubelet.LogMaxSizeBytes <= 0 {
		why = "the kubelet's rotation of containers' logs is off; disk.mode: exclusive takes it over"
	}
	if why != "" {
		t.recordError(logdir.Action{Verb: logdir.ActionRotate, Path: "containers' logs", Error: why})
		return health.ErrIdle
	}
	if err := t.open(ctx, *u.Kubelet, policy.Readers.RotateWait.D(), now); err != nil || t.rotator == nil {
		return err
	}
	pressed := false
	for _, f := range u.Filesystems {
		if f.LogPath([]string{u.Kubelet.PodLogs}) == "" {
			continue
		}
		// The last look is ten seconds old, in which a disk of 1 GB fills.
		if is, err := t.rotator.Space(); err == nil {
			f.AvailBytes, f.InodesFree = is.AvailBytes, is.InodesFree
			pressed = policy.Pressure.Short(f)
			t.rotator.LeftBytes = policy.Pressure.LeftBytes(f)
		}
	}
	t.rotator.Collected = u.Collected
	t.record(t.rotator.Pass(ctx, pressed, now)...)
	if t.finishing.CompareAndSwap(false, true) {
		t.agent.background.Go(func() { // compressing waits for the disk, and the next look does not
			defer t.finishing.Store(false)
			t.record(t.rotator.FinishRotations(ctx, time.Now())...)
		})
	}
	return nil
}

// open connects to the runtime, and connects again when the configuration of the
// kubelet has changed.
func (t *containerRotationTask) open(ctx context.Context, k hostconfig.Kubelet, wait time.Duration, now time.Time) error {
	if t.rotator != nil && (reflect.DeepEqual(k, t.kubelet) && wait == t.wait || t.finishing.Load()) {
		return nil
	}
	if t.runtime == nil {
		if now.Sub(t.lastDial) < reclaimInterval {
			return nil
		}
		t.lastDial = now
		c, err := cri.Dial(ctx, t.roots.Rootfs, k.RuntimeSocket())
		if errors.Is(err, cri.ErrNoSocket) { // the kubelet rotates without us
			t.recordError(logdir.Action{Verb: logdir.ActionRotate, Path: "containers' logs", Error: err.Error()})
			return nil
		}
		if err != nil {
			return err
		}
		t.agent.log.Info("rotating container logs that exceed their size limit", "runtime", c.Name)
		t.runtime = c
	}
	if t.rotator != nil {
		_ = t.rotator.Close()
		t.rotator = nil
	}
	b, err := containerlog.New(t.roots.Procfs, t.roots.Rootfs, k, wait, t.reopener)
	if err != nil {
		return err
	}
	t.rotator, t.kubelet, t.wait = b, k, wait
	return nil
}

func (t *containerRotationTask) reopener(ctx context.Context, l workload.Log, file string) (containerlog.Runtime, error) {
	id, err := t.runtime.Container(ctx, l, file)
	if err != nil {
		return containerlog.Runtime{}, err
	}
	return containerlog.Runtime{
		Reopen:   func(ctx context.Context) error { return t.runtime.Reopen(ctx, id) },
		Replaces: t.runtime.Replaces,
	}, nil
}
