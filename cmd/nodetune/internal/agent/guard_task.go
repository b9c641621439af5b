package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/guard"
)

const (
	// guardInterval is how soon a pause is noticed while a guard is attached: an
	// administrator who pauses nodetune lowers a key right after that.
	guardInterval = time.Second
	// guardRetryInterval is when a guard that could not be opened is tried again.
	// To open one takes up to 70 ms of processor time.
	guardRetryInterval = 10 * time.Minute
)

// guardTask keeps the sysctl guard in the mode that is configured, and reports
// the writes that it sees.
type guardTask struct {
	agent  *Agent
	roots  host.Roots
	store  *sysctl.Store
	act    bool
	locked bool // the agent holds its lock

	mu        sync.Mutex
	guard     *guard.Guard // nil while none is attached
	config    any          // the configuration that the floors are from
	mode      sysctl.GuardMode
	reason    string
	limits    []string
	floors    map[sysctl.Key]sysctl.Value
	retry     time.Time // no guard is opened before
	failed    string    // the problem as it was logged
	ended     bool
	names     *workload.Index
	immediate sysctl.ImmediateRaises
	writes    sysctl.ObservedWrites
	unnamed   []guard.Write
	changed   bool // since it was published
	// counted are the writes that guards before this one counted.
	counted map[sysctl.Key]guard.Counts
}

func newGuardTask(a *Agent, o Options) *guardTask {
	return &guardTask{
		agent: a, roots: o.Roots, store: o.Store, act: o.Act, locked: o.Locked,
		mode: sysctl.GuardOff, changed: true, names: workload.NewIndex(o.Roots.Rootfs),
		immediate: sysctl.ImmediateRaises{}, counted: map[sysctl.Key]guard.Counts{},
	}
}

func (t *guardTask) interval() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.guard == nil {
		return time.Minute
	}
	return guardInterval
}

// pass opens, closes or changes the guard as the configuration and a pause say,
// and publishes what it has seen. A guard that fails is no failed pass: the
// settings are read every half minute all the same.
func (t *guardTask) pass(ctx context.Context) error {
	t.mu.Lock()
	fresh := t.update(ctx, time.Now())
	t.nameLate(time.Now())
	changed := t.changed
	t.changed = false
	var state sysctl.GuardState
	if changed {
		state = t.state()
	}
	t.mu.Unlock()
	if fresh != nil {
		go t.read(ctx, fresh)
	}
	if !changed {
		return nil
	}
	t.agent.latest.Update(func(s *reporter.Snapshot) { annotate(&s.Sysctl.Value, state) })
	t.agent.publish()
	if err := t.store.PutGuardState(state); err != nil && t.locked {
		return fmt.Errorf("publish what the sysctl guard saw: %w", err)
	}
	return nil
}

// update returns a guard that was opened, whose writes are to be read.
func (t *guardTask) update(ctx context.Context, now time.Time) *guard.Guard {
	if t.ended || ctx.Err() != nil {
		return nil
	}
	cfg := t.agent.config.Load()
	reloaded := t.config != any(cfg)
	if reloaded {
		t.retry = time.Time{}
	}
	wish := wishedGuard(cfg.Sysctl.Guard, t.act, t.locked, t.store.Paused())
	if wish.mode == sysctl.GuardOff {
		t.config = cfg
		t.close()
		t.is(wish, nil)
		return nil
	}
	if t.guard != nil && !reloaded && t.mode == wish.mode && t.reason == wish.reason {
		return nil
	}
	if t.guard == nil && now.Before(t.retry) {
		return nil
	}
	fresh, err := t.apply(wish, reloaded)
	if err != nil {
		t.fail(err, now)
		t.config = cfg
		return nil
	}
	t.config, t.failed = cfg, ""
	t.is(wish, t.guard.Limits())
	return fresh
}

func (t *guardTask) apply(wish guardWish, reloaded bool) (fresh *guard.Guard, err error) {
	if t.guard == nil || reloaded {
		m, err := sysctl.ReadMachine(t.roots.Procfs)
		if err != nil {
			return nil, err
		}
		t.floors = sysctl.GuardFloors(t.agent.config.Load().Sysctl.For(m))
	}
	mode := guard.Observe
	if wish.mode == sysctl.GuardHold {
		mode = guard.Hold
	}
	if t.guard == nil {
		if err := host.RequireOwnKernel(t.roots.Procfs); err != nil {
			return nil, err
		}
		types := bpf.NewTypes() // which the tasks of inotify need, too
		defer types.Close()
		t.guard, err = guard.Open(guard.Options{Procfs: t.roots.Procfs, Cgroupfs: Cgroupfs(t.roots), Floors: t.floors, Mode: mode, BTF: types.Cache()})
		return t.guard, err
	}
	// A raised floor must not be held before the mode says so, and the other way round.
	if mode == guard.Observe {
		return nil, errors.Join(t.guard.SetMode(mode), t.guard.SetFloors(t.floors))
	}
	return nil, errors.Join(t.guard.SetFloors(t.floors), t.guard.SetMode(mode))
}

// Cgroupfs returns where the cgroups of the host are mounted, which is below its
// root directory in a pod.
func Cgroupfs(r host.Roots) string {
	dir := filepath.Join(r.Rootfs, "sys/fs/cgroup")
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	return filepath.Join(r.Sysfs, "fs/cgroup")
}

// is records the mode, and logs it where it is another one.
func (t *guardTask) is(wish guardWish, limits []string) {
	if t.mode == wish.mode && t.reason == wish.reason && slices.Equal(t.limits, limits) {
		return
	}
	t.mode, t.reason, t.limits, t.changed = wish.mode, wish.reason, limits, true
	t.agent.log.Info("sysctl guard", "mode", t.mode, "reason", t.reason, "limits", t.limits)
}

// fail closes the guard, and logs the reason once.
func (t *guardTask) fail(err error, now time.Time) {
	t.close()
	t.retry = now.Add(guardRetryInterval)
	t.mode, t.reason, t.limits, t.changed = sysctl.GuardOff, err.Error(), nil, true
	if t.failed == err.Error() {
		return
	}
	t.failed = err.Error()
	level := slog.LevelWarn
	if t.agent.config.Load().Sysctl.Guard == sysctl.GuardDefault && errors.Is(err, errors.ErrUnsupported) {
		level = slog.LevelInfo // the configuration does not ask for it
	}
	t.agent.log.Log(context.Background(), level, "the sysctl guard is off; the settings are read every half minute", "reason", err)
}

// close detaches the guard, and keeps what it counted.
func (t *guardTask) close() {
	if t.guard == nil {
		return
	}
	if all, err := t.guard.Counts(); err == nil {
		t.counted = added(t.counted, all)
	}
	if err := t.guard.Close(); err != nil {
		t.agent.log.Warn("cannot close the sysctl guard", "err", err)
	}
	t.guard = nil
}

// stop closes the guard before the agent releases its lock.
func (t *guardTask) stop() {
	t.mu.Lock()
	t.ended = true
	t.close()
	t.mode, t.reason = sysctl.GuardOff, "the agent has ended"
	state := t.state()
	t.mu.Unlock()
	if t.locked {
		_ = t.store.PutGuardState(state) // a report, and the agent ends
	}
}

func (t *guardTask) state() sysctl.GuardState {
	s := sysctl.GuardState{Mode: t.mode, Reason: t.reason, Limits: t.limits, Writes: slices.Clone(t.writes)}
	if t.guard != nil {
		s.ProgramID = t.guard.ProgramID()
	}
	return s
}

// published returns what the guard is and has seen, for the result of a pass.
func (t *guardTask) published() sysctl.GuardState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state()
}

// annotate adds g to the result of a pass.
func annotate(o *sysctl.PassResult, g sysctl.GuardState) {
	o.Guard, o.GuardReason, o.GuardLimits, o.ObservedWrites = string(g.Mode), g.Reason, g.Limits, g.Writes
}

// loweredBy names who lowered k in the last hour.
func (t *guardTask) loweredBy(k sysctl.Key, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.writes.LoweredBy(k, now)
}
