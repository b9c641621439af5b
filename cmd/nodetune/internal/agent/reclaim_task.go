package agent

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/cri"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/reporter/health"
)

// reclaimInterval is how often disks are looked at for acting, as often as they
// are observed.
const reclaimInterval = diskInterval

// reclaimTask rotates the host's logs and frees space.
type reclaimTask struct {
	*diskActions
	reclaimer *reclaim.Reclaimer
	policy    disk.Policy
	acting    map[string]bool // devices that are not yet where they are to be
}

func (t *reclaimTask) interval() time.Duration {
	if _, ok := t.allowed(); !ok {
		return disallowedInterval
	}
	return reclaimInterval
}

func (t *reclaimTask) pass(ctx context.Context) error {
	policy, ok := t.allowed()
	if t.reclaimer != nil && (!ok || !reflect.DeepEqual(policy, t.policy)) {
		// Without rules it reports what was compressed beside the passes, and does no more.
		t.record(t.reclaimer.Pass(ctx, nil, false, time.Now())...)
		_ = t.reclaimer.Close() // ends the compression that runs
		t.reclaimer = nil
	}
	if !ok {
		return health.ErrIdle
	}
	if t.reclaimer == nil {
		r, err := reclaim.New(t.roots.Procfs, t.roots.Rootfs, policy.ReclaimConfig())
		if err != nil {
			return err
		}
		r.CompressBeside(ctx, &t.agent.background)
		r.Sandboxes = PodSandboxes(t.roots.Rootfs)
		t.reclaimer, t.policy, t.acting = r, policy, map[string]bool{}
	}
	now := time.Now()
	u, fresh := t.usage(now)
	short, pressed := map[string]filesystem.Goal{}, false
	for _, f := range u.Filesystems {
		if top := f.LogPath(policy.LogPaths); fresh && top != "" {
			g, ok := policy.Pressure.Goal(f, t.acting[f.Device])
			if t.acting[f.Device] = ok; ok {
				short[top] = g
				pressed = pressed || policy.Pressure.Short(f)
			} else if policy.Reclaim.Has(reclaim.ClassBallast) {
				if err := t.reclaimer.Ballast(top); err != nil && t.isNewError(top, err.Error()) {
					t.agent.log.Warn("cannot create the ballast file", "path", top, "err", err)
				}
			}
		}
	}
	t.record(t.reclaimer.Pass(ctx, policy.Rotations, pressed, now)...)
	var errs []error
	for top, goal := range short {
		got, err := t.reclaimer.Reclaim(ctx, top, goal, u.ReclaimInput(), false, now, func(a logdir.Action) { t.record(a) })
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(got.Acts) > 0 {
			t.agent.acts.Add(reclaimAct(top, goal, got))
			t.agent.log.Info("reclaimed space", "path", top, "reason", goal.Reason, "acts", len(got.Acts), "freed_bytes", got.Freed, "avail_bytes", got.Filesystem.AvailBytes, "enough", got.Met)
		}
	}
	return errors.Join(errs...)
}

// PodSandboxes asks the container runtime, where it can be reached, which pods have
// a sandbox. It is asked only when an orphan is about to be removed.
func PodSandboxes(rootfs string) func(context.Context, string) (map[string]bool, error) {
	return func(ctx context.Context, socket string) (map[string]bool, error) {
		c, err := cri.Dial(ctx, rootfs, socket)
		if errors.Is(err, cri.ErrNoSocket) {
			return nil, nil // the kubelet alone says what it has
		}
		if err != nil {
			return nil, err
		}
		defer func() { _ = c.Close() }()
		return c.Sandboxes(ctx)
	}
}
