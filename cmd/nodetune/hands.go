package main

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/cri"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
)

const (
	// reclaimEvery is how often disks are looked at for acting, as often as they
	// are observed.
	reclaimEvery = diskEvery
	// idleEvery is how often a task that must not act asks whether it may.
	idleEvery = time.Minute
	// freshUsage is how old an observation may be to act upon.
	freshUsage = time.Minute
)

// hands act upon log files, in the modes assist and own.
type hands struct {
	agent  *agent
	roots  Roots
	act    bool
	paused func() string
	acts   *reporter.Acts

	mu   sync.Mutex
	said map[string]string // the last error about a path, so that it is logged once
}

// may returns the policy, and whether it lets files be touched now.
func (h *hands) may() (disk.Policy, bool) {
	p := h.agent.config.Load().Disk
	return p, h.act && p.Mode != disk.Observe && h.paused() == ""
}

// usage returns the last look at the host, if it is fresh: nothing is done upon
// what is not known.
func (h *hands) usage(now time.Time) (disk.Usage, bool) {
	r := h.agent.latest.Snapshot().Disk
	return r.Value, r.Err == nil && !r.At.IsZero() && now.Sub(r.At) < freshUsage
}

// did logs, counts and tells what was done.
func (h *hands) did(acts ...disk.Act) {
	for _, a := range acts {
		h.acts.Count(a)
		if a.Err != nil {
			h.failed(a)
			continue
		}
		h.agent.log.Info("changed a log file", "act", a.Verb, "path", a.Path, "archive", a.Archive, "bytes", a.Bytes, "reason", a.Reason, "asked", a.Asked, "unread_bytes", a.Unread)
		if a.Unread > 0 && h.agent.kube.events != nil {
			h.agent.kube.events.Say(h.agent.kube.events.OnNode(corev1.EventTypeWarning, "UnreadLogsRemoved",
				"removed an archive that its reader had not read to the end: "+safetext.String(a.Path)), time.Now())
		}
	}
}

// maxSaid bounds what is remembered about paths that others may choose.
const maxSaid = 1000

// news reports whether text was not what was last said about a path.
func (h *hands) news(path, text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.said == nil || len(h.said) > maxSaid {
		h.said = map[string]string{}
	}
	was := h.said[path]
	h.said[path] = text
	return was != text
}

func (h *hands) failed(a disk.Act) {
	if !h.news(a.Path, a.Error) {
		return
	}
	level := slog.LevelError
	if a.Verb == disk.ActRefuse {
		level = slog.LevelWarn
	}
	h.agent.log.Log(context.Background(), level, "log file stays unchanged", "act", a.Verb, "path", a.Path, "err", a.Error)
}

// reclaimTask rotates the host's logs and frees space.
type reclaimTask struct {
	*hands
	reclaimer *disk.Reclaimer
	policy    disk.Policy
	acting    map[string]bool // devices that are not yet where they are to be
}

func (t *reclaimTask) every() time.Duration {
	if _, ok := t.may(); !ok {
		return idleEvery
	}
	return reclaimEvery
}

func (t *reclaimTask) pass(ctx context.Context) error {
	policy, ok := t.may()
	if !ok {
		return nil
	}
	if t.reclaimer != nil && !reflect.DeepEqual(policy, t.policy) {
		_ = t.reclaimer.Close()
		t.reclaimer = nil
	}
	if t.reclaimer == nil {
		r, err := disk.NewReclaimer(t.roots.Procfs, t.roots.Rootfs, policy.ReclaimConfig())
		if err != nil {
			return err
		}
		r.Sandboxes = sandboxes(t.roots.Rootfs)
		t.reclaimer, t.policy, t.acting = r, policy, map[string]bool{}
	}
	now := time.Now()
	u, fresh := t.usage(now)
	short, pressed := map[string]disk.Goal{}, false
	for _, f := range u.Filesystems {
		if top := f.LogPath(policy.LogPaths); fresh && top != "" {
			g, ok := policy.Pressure.Goal(f, t.acting[f.Device])
			if t.acting[f.Device] = ok; ok {
				short[top] = g
				pressed = pressed || policy.Pressure.Short(f)
			} else if policy.Reclaim.Has(disk.ClassBallast) {
				if err := t.reclaimer.Ballast(top); err != nil && t.news(top, err.Error()) {
					t.agent.log.Warn("cannot create the ballast file", "path", top, "err", err)
				}
			}
		}
	}
	t.did(t.reclaimer.Pass(ctx, policy.Rotations, pressed, now)...)
	var errs []error
	for top, goal := range short {
		got, err := t.reclaimer.Reclaim(ctx, top, goal, u.ReclaimInput(), false, now, func(a disk.Act) { t.did(a) })
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if len(got.Acts) > 0 {
			t.agent.log.Info("reclaimed space", "path", top, "reason", goal.Reason, "acts", len(got.Acts), "freed_bytes", got.Freed, "avail_bytes", got.Filesystem.AvailBytes, "enough", got.Met)
		}
	}
	return errors.Join(errs...)
}

// sandboxes asks the container runtime, where there is one to be reached, of which
// pods it has a sandbox. That is seldom asked: for an orphan that is to be removed.
func sandboxes(rootfs string) func(context.Context) (map[string]bool, error) {
	return func(ctx context.Context) (map[string]bool, error) {
		c, err := cri.Dial(ctx, rootfs, "")
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

// burstTask rotates logs of containers that outgrow their limit between two
// looks of the kubelet.
type burstTask struct {
	*hands
	bursts   *disk.Bursts
	runtime  *cri.Client
	kubelet  disk.Kubelet
	wait     time.Duration
	tried    time.Time
	settling atomic.Bool
}

func (t *burstTask) every() time.Duration {
	switch _, ok := t.may(); {
	case !ok:
		return reclaimEvery
	case t.bursts == nil: // until the first look at the host
		return time.Second
	}
	return disk.BurstEvery
}

func (t *burstTask) pass(ctx context.Context) error {
	policy, ok := t.may()
	now := time.Now()
	u, fresh := t.usage(now)
	if !ok || !fresh {
		return nil
	}
	if u.Kubelet == nil {
		if u.PodsWithoutKubelet() {
			t.failed(disk.Act{Verb: disk.ActRotate, Path: "containers' logs", Error: "no kubelet was found on this host: its limits are not known"})
		}
		return nil
	}
	why := u.Kubelet.Error // its limits are not known, nor how many archives it keeps
	if why == "" && policy.Mode == disk.Assist && u.Kubelet.LogMaxSizeBytes <= 0 {
		why = "the kubelet's rotation of containers' logs is off; disk.mode: own takes it over"
	}
	if why != "" {
		t.failed(disk.Act{Verb: disk.ActRotate, Path: "containers' logs", Error: why})
		return nil
	}
	if err := t.open(ctx, *u.Kubelet, policy.Readers.RotateWait.D(), now); err != nil || t.bursts == nil {
		return err
	}
	pressed := false
	for _, f := range u.Filesystems {
		if f.LogPath([]string{u.Kubelet.PodLogs}) == "" {
			continue
		}
		// The last look is ten seconds old, in which a disk of 1 GB fills.
		if is, err := t.bursts.Space(); err == nil {
			f.AvailBytes, f.InodesFree = is.AvailBytes, is.InodesFree
			pressed = policy.Pressure.Short(f)
		}
	}
	t.bursts.Collected = u.Collected
	t.did(t.bursts.Pass(ctx, pressed, now)...)
	if t.settling.CompareAndSwap(false, true) {
		go func() { // compressing waits for the disk, and the next look does not
			defer t.settling.Store(false)
			t.did(t.bursts.Settle(ctx, time.Now())...)
		}()
	}
	return nil
}

// open connects to the runtime, and begins anew when the kubelet was configured
// anew.
func (t *burstTask) open(ctx context.Context, k disk.Kubelet, wait time.Duration, now time.Time) error {
	if t.bursts != nil && (reflect.DeepEqual(k, t.kubelet) && wait == t.wait || t.settling.Load()) {
		return nil
	}
	if t.runtime == nil {
		if now.Sub(t.tried) < reclaimEvery {
			return nil
		}
		t.tried = now
		c, err := cri.Dial(ctx, t.roots.Rootfs, k.RuntimeSocket())
		if errors.Is(err, cri.ErrNoSocket) { // the kubelet rotates without us
			t.failed(disk.Act{Verb: disk.ActRotate, Path: "containers' logs", Error: err.Error()})
			return nil
		}
		if err != nil {
			return err
		}
		t.agent.log.Info("rotating container logs that exceed their size limit", "runtime", c.Name)
		t.runtime = c
	}
	if t.bursts != nil {
		_ = t.bursts.Close()
		t.bursts = nil
	}
	b, err := disk.NewBursts(t.roots.Procfs, t.roots.Rootfs, k, wait, t.reopener)
	if err != nil {
		return err
	}
	t.bursts, t.kubelet, t.wait = b, k, wait
	return nil
}

func (t *burstTask) reopener(ctx context.Context, l workload.Log, file string) (disk.Runtime, error) {
	id, err := t.runtime.Container(ctx, l, file)
	if err != nil {
		return disk.Runtime{}, err
	}
	return disk.Runtime{
		Reopen:   func(ctx context.Context) error { return t.runtime.Reopen(ctx, id) },
		Replaces: t.runtime.Replaces,
	}, nil
}
