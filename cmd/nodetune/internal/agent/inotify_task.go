package agent

import (
	"context"
	"errors"
	"io/fs"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/inotify/procscan"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/metrics"
	"github.com/nodetune/nodetune/sysctl"
)

const (
	// idleInterval is how often use is counted while everybody is far from every
	// limit. A pass over 500 processes and 10,000 watches takes some 80 ms of CPU
	// (BenchmarkAgent), 0.07 % of a core.
	idleInterval = 2 * time.Minute
	// busyInterval applies where an account is near a limit, or will be, and where
	// holders are read from the kernel's descriptor tables, at 0.01 of the cost.
	busyInterval = 30 * time.Second
	// nearPercent of a limit in use is near it.
	nearPercent = 50
	// maxCPUShare bounds what counting costs on a larger node, as a share of a
	// core: where a pass takes more than 150 ms of CPU, the interval grows.
	maxCPUShare = 0.005
	// maxInterval is the longest pause between two passes: with a tenth of jitter
	// and a slow pass it must stay below the five minutes after which conditions
	// are Unknown (reporter.conditions.staleAfter).
	maxInterval = 3 * time.Minute
	// walkWithin is how long a pass walks /proc, on the clock: tenants decide how much
	// there is to see, and others how much CPU time is left. With the reading of watches
	// after it a pass ends within 30 s.
	walkWithin = 12 * time.Second
)

// inotifyTask counts who uses what, and asks for more before a limit is met.
type inotifyTask struct {
	agent *Agent
	roots host.Roots

	source       *accounting.Source
	surges       *surgeWatcher
	stopClosing  func() bool // of the notifier, when the agent ends
	retrySource  time.Time   // when BPF that failed is tried again; zero: never
	history      inotify.History
	heldBack     map[string]string // why a limit is not raised, as it was logged
	cost         time.Duration     // CPU time of the last pass
	unfinished   bool              // the next pass resumes a walk
	near         bool              // an account is near a limit, or a condition says so
	walked       bool              // holders are read from the kernel
	noProcesses  sync.Once
	loggedSource string // of the figures, as it was logged
	act          bool
	paused       func() string
	nofileRaises metrics.NOFILERaises
	nofileErrors map[string]bool // messages about RLIMIT_NOFILE that were logged
}

func (t *inotifyTask) interval() time.Duration {
	every := idleInterval
	if t.near || t.walked {
		every = busyInterval
	}
	if t.unfinished {
		return busyInterval // its figures become old
	}
	return min(max(every, time.Duration(float64(t.cost)/maxCPUShare)), maxInterval)
}

func (t *inotifyTask) pass(ctx context.Context) error {
	before := cpuTime()
	u, err := t.count(ctx)
	now := time.Now()
	t.cost = cpuTime() - before
	if errors.Is(err, errNoProcesses) {
		t.noProcesses.Do(func() {
			t.agent.log.Info("no processes found; inotify usage is not counted", "path.procfs", t.roots.Procfs)
		})
		return health.ErrIdle
	}
	u.Refusals = t.agent.failures.Recent(now)
	if source := t.agent.refusals.Load(); source != nil {
		u.RefusalSource = *source
	}
	t.unfinished = err == nil && u.Walk.Omitted > 0
	if err == nil && !u.Partial {
		if !t.unfinished { // figures of before would show no growth
			t.history.Add(now, u, busyInterval)
		}
		t.history.Annotate(&u)
	}
	t.agent.latest.Update(func(s *reporter.Snapshot) {
		s.Inotify = reporter.Result[inotify.Usage]{Value: u, At: now, Err: err}
	})
	if err == nil {
		t.walked = u.HoldersSource == inotify.SourceWalk
		t.logSource(u)
		t.requestFloors(u)
		t.raiseNOFILE(u)
	}
	t.agent.publish()
	return err
}

// logSource logs where the figures are from, when that changes.
func (t *inotifyTask) logSource(u inotify.Usage) {
	whence := u.Source + u.SourceReason + u.HoldersSource + u.HoldersReason
	if whence == t.loggedSource {
		return
	}
	t.loggedSource = whence
	t.agent.log.Info("counting inotify usage of accounts", "source", u.Source, "reason", u.SourceReason)
	t.agent.log.Info("counting inotify holders", "source", u.HoldersSource, "reason", u.HoldersReason)
}

// errNoProcesses is a --path.procfs that holds settings and no processes, which
// is all that holding the floors needs.
var errNoProcesses = errors.New("no processes")

// count makes one pass with the policy in force.
func (t *inotifyTask) count(ctx context.Context) (inotify.Usage, error) {
	policy := t.agent.config.Load().Inotify
	retry := t.source != nil && !t.retrySource.IsZero() && time.Now().After(t.retrySource)
	if t.source != nil && (retry || !reflect.DeepEqual(t.source.Policy, policy)) {
		if t.stopClosing != nil {
			t.stopClosing() // it would keep the notifier's mappings
			t.stopClosing = nil
		}
		t.surges.setSource(nil)
		t.agent.usage.Store(nil)
		t.source.Close()
		t.source = nil
	}
	if t.source == nil {
		h, err := accounting.Open(t.roots, policy)
		if errors.Is(err, fs.ErrNotExist) {
			return inotify.Usage{}, errNoProcesses
		}
		if err != nil {
			return inotify.Usage{}, err
		}
		h.WalkWithin(walkWithin)
		t.source = h
		t.agent.usage.Store(h)
		t.retrySource = time.Time{}
		if d := h.RetryAfter(); d > 0 {
			t.retrySource = time.Now().Add(jitter(d))
		}
		if h.Accounts != nil {
			t.surges.setSource(h.Accounts)
			t.startNotifier(ctx, h.Accounts)
		}
	}
	return t.source.Usage(ctx)
}

// startNotifier has the kernel ring when a surge begins.
func (t *inotifyTask) startNotifier(ctx context.Context, table *bpf.Table) {
	alarm, err := table.NewThresholdNotifier()
	if err != nil {
		t.agent.log.Info("no BPF notification of surges; polling ten times a second", "err", err)
		return
	}
	t.stopClosing = context.AfterFunc(ctx, func() { _ = alarm.Close() })
	t.surges.start(ctx, alarm)
}

// requestFloors asks for more of what is used for a large share, or will be.
func (t *inotifyTask) requestFloors(u inotify.Usage) {
	policy := t.source.Policy
	forecasts := t.history.Forecasts(u, policy.Horizon.D())
	t.near = len(forecasts) > 0 || nearLimit(u) || t.agent.kube.underPressure()
	held := make(map[string]string)
	more := false
	for _, f := range inotify.Raise(u, forecasts, policy) {
		if f.HeldBack != "" {
			held[f.Key] = f.HeldBack
			if t.heldBack[f.Key] == "" {
				t.agent.acts.Add(heldBackAct(f))
				t.agent.log.Warn("limit is nearly used up and cannot be raised further", "key", f.Key, "why", f.Reason, "held_back", f.HeldBack)
			}
		}
		more = t.requestFloor(f) || more
	}
	t.heldBack = held
	if more {
		t.agent.sysctlTask.requestPass()
	}
}

// requestFloor asks for a floor, and reports whether it is higher than what was asked
// for before.
func (t *inotifyTask) requestFloor(f inotify.Floor) bool {
	return t.agent.floorRequests.request(sysctl.Need{Key: sysctl.Key(f.Key), AtLeast: sysctl.Value(f.AtLeast), Why: f.Reason, FromUse: true})
}

// raiseInSurge raises between two passes, in this goroutine: on a node whose CPUs
// are all busy another one may have to wait for milliseconds.
func (t *inotifyTask) raiseInSurge(ctx context.Context, floors []inotify.Floor, since func() time.Duration) bool {
	more := false
	for _, f := range floors {
		more = t.requestFloor(f) || more
	}
	if !more || !t.agent.raiseNow(ctx) {
		return false
	}
	t.agent.log.Info("raised limits during a surge", "after", since().Round(time.Microsecond))
	return true
}

// nearLimit reports whether a limit is in use for a share that should be looked
// at more often.
func nearLimit(u inotify.Usage) bool {
	near := u.Limits.FileMax.Percent(u.Limits.OpenFiles) >= nearPercent
	for _, a := range u.Accounts {
		near = near || a.InstancesLimit.Percent(a.Instances) >= nearPercent || a.WatchesLimit.Percent(a.Watches) >= nearPercent
	}
	return near
}

// raiseNOFILE raises the descriptor limits of the programs that the
// configuration names.
func (t *inotifyTask) raiseNOFILE(u inotify.Usage) {
	refused := make(map[string]bool)
	for _, r := range inotify.RaiseNOFILE(u.Processes, t.source.Policy) {
		if !t.act || t.paused() != "" {
			continue // nodetune_process_open_fds shows it
		}
		is, err := t.source.RaiseNOFILE(r)
		switch {
		case errors.Is(err, procscan.ErrGone):
		case err != nil:
			refused[err.Error()] = true
			t.nofileRaises.Count(err)
			if !t.nofileErrors[err.Error()] {
				t.agent.acts.Add(nofileAct(r, is, err))
				t.agent.log.Warn("cannot raise the descriptor limit of a process", "comm", safetext.String(r.Comm), "used", r.Used, "limit", r.From, "err", err)
			}
		default:
			t.nofileRaises.Count(nil)
			t.agent.acts.Add(nofileAct(r, is, nil))
			t.agent.log.Info("raised the descriptor limit of a process", "comm", safetext.String(r.Comm), "pid", r.PID, "used", r.Used, "from", r.From, "to", is)
		}
	}
	t.nofileErrors = refused
}

// cpuTime returns the user and system time of this process, getrusage(2). What
// other tasks use meanwhile counts as well, which errs towards using less.
func cpuTime() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
