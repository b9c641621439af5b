package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/metrics"
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
	// maxUnnamedWrites bounds the writes of pods that have no name yet.
	maxUnnamedWrites = 64
	// unnamedFor is how long the name of a pod may take: the kubelet makes the
	// directory of its logs before the container starts, and the link that names
	// the container some time after that.
	unnamedFor = 3 * time.Second
)

// raiseAgain is when passes look again at a key that was raised at once. The
// guard sees the write before it takes effect, and the kernel may stop the writer
// in between.
var raiseAgain = []time.Duration{2 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second}

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

// read reports each write until g is closed.
func (t *guardTask) read(ctx context.Context, g *guard.Guard) {
	for {
		w, err := g.Read(ctx)
		switch {
		case err == nil:
			t.seen(ctx, w)
			continue
		case ctx.Err() != nil || errors.Is(err, os.ErrClosed):
			return
		}
		t.mu.Lock()
		if t.guard == g {
			t.fail(fmt.Errorf("read the writes that the sysctl guard saw: %w", err), time.Now())
		}
		t.mu.Unlock()
		return
	}
}

// seen has the setting raised again, and then reports the write.
func (t *guardTask) seen(ctx context.Context, w guard.Write) {
	now := time.Now()
	below := belowFloor(t.agent.latest.Snapshot().Sysctl.Value.Rules, w.Key, w.New)
	t.mu.Lock()
	raise := below && !w.Held && t.immediate.Allow(canonicalKey(w.Key), now)
	t.mu.Unlock()
	if raise {
		t.agent.raiseNow(ctx) // in this goroutine: each one that it waits for may wait for a processor
		for _, after := range raiseAgain {
			time.AfterFunc(after, t.agent.sysctlTask.requestPass)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.names.Refresh() // without it there is no name
	of := w.Workload()
	named := t.names.Named(of)
	if of.PodUID != "" && (named.Pod == "" || of.ContainerID != "" && named.Container == "") && len(t.unnamed) < maxUnnamedWrites {
		t.unnamed = append(t.unnamed, w)
		return
	}
	t.report(w, named, below, now)
}

// nameLate reports the writes whose pod or container has its name now, or gets none.
func (t *guardTask) nameLate(now time.Time) {
	if len(t.unnamed) == 0 {
		return
	}
	_ = t.names.Refresh()
	var still []guard.Write
	for _, w := range t.unnamed {
		of := t.names.Named(w.Workload())
		if now.Sub(w.Time) < unnamedFor && (of.Pod == "" || of.ContainerID != "" && of.Container == "") {
			still = append(still, w)
			continue
		}
		t.report(w, of, belowFloor(t.agent.latest.Snapshot().Sysctl.Value.Rules, w.Key, w.New), now)
	}
	t.unnamed = still
}

// report adds w to the document, the log and the Events.
func (t *guardTask) report(w guard.Write, of workload.Workload, below bool, now time.Time) {
	o := observed(w, of, below)
	t.changed = true
	if o.Held {
		t.agent.acts.Add(holdAct(o))
	}
	if t.writes.Add(o) {
		message, level := "another program wrote a sysctl", slog.LevelInfo
		if below {
			message, level = "another program wrote a sysctl below its floor", slog.LevelWarn
		}
		t.agent.log.Log(context.Background(), level, message, "key", o.Key, "from", o.From.String(), "to", o.To.String(), "held", o.Held,
			"process", o.Process, "uid", o.UID, "namespace", o.Namespace, "pod", o.Pod, "container", o.Container, "unit", o.Unit)
	}
	if e := t.agent.kube.events; e != nil {
		ev, ok := e.SysctlWriteEvent(o)
		switch {
		case !ok:
		case ev.Object.Kind == "Pod":
			t.agent.kube.recordPodEvent(ev, t.agent.config.Load().Reporter.PodDemands, now)
		default:
			e.Record(ev, now)
		}
	}
}

// observed is w as it is published.
func observed(w guard.Write, of workload.Workload, below bool) sysctl.ObservedWrite {
	return sysctl.ObservedWrite{
		Key: w.Key, First: w.Time, Last: w.Time, Count: 1 + w.Suppressed,
		From: w.Old, To: w.New, Effective: w.Effective, BelowFloor: below, Held: w.Held,
		Process: w.Process(), PID: w.PID, UID: w.UID,
		Namespace: of.Namespace, Pod: of.Pod, PodUID: of.PodUID, Container: of.Container, Unit: of.Unit,
	}
}

// belowFloor reports whether v, written to k, does not satisfy a rule.
func belowFloor(rules []sysctl.Status, k sysctl.Key, v sysctl.Value) bool {
	return v.Known() && slices.ContainsFunc(rules, func(s sysctl.Status) bool {
		return s.Op != sysctl.Report && sysctl.SameVariable(s.Key, k) && !s.SatisfiedBy(v)
	})
}

// canonicalKey is one name for both names of a variable.
func canonicalKey(k sysctl.Key) sysctl.Key {
	for _, one := range []sysctl.Key{sysctl.MaxUserInstances, sysctl.MaxUserWatches} {
		if sysctl.SameVariable(one, k) {
			return one
		}
	}
	return k
}

// counts are for the metrics: the mode, and the writes of each managed key.
func (t *guardTask) counts() (sysctl.GuardMode, []metrics.SysctlWrites) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := t.counted
	if t.guard != nil {
		if now, err := t.guard.Counts(); err == nil {
			all = added(all, now)
		}
	}
	keys := make(map[sysctl.Key]bool, len(all)+len(t.floors))
	for k := range all {
		keys[k] = true
	}
	for k := range t.floors {
		keys[k] = true
	}
	series := make([]metrics.SysctlWrites, 0, len(keys))
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		c := all[k]
		series = append(series, metrics.SysctlWrites{Key: k, Lowered: c.Lowered, Raised: c.Raised, Unchanged: c.Same, Unread: c.Unread, Held: c.Held})
	}
	return t.mode, series
}

// added returns the sum of two counts of each key.
func added(a, b map[sysctl.Key]guard.Counts) map[sysctl.Key]guard.Counts {
	sum := maps.Clone(a)
	for k, c := range b {
		s := sum[k]
		s.Lowered, s.Raised, s.Same, s.Unread = s.Lowered+c.Lowered, s.Raised+c.Raised, s.Same+c.Same, s.Unread+c.Unread
		s.Held, s.Suppressed = s.Held+c.Held, s.Suppressed+c.Suppressed
		sum[k] = s
	}
	return sum
}
