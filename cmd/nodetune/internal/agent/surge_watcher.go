package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
)

// How often the kernel's counters are looked at between two passes. A look takes
// 15 us, so that ten a second are 0.02 % of a core; to be woken for it takes 0.3 %,
// so that it is left to the kernel where that rings.
const (
	pollInterval         = 100 * time.Millisecond
	notifiedPollInterval = time.Second
)

// surgeWatcher looks at the kernel's counters between two passes, and as soon as the
// kernel rings an alarm. Where an account uses so much of a limit that it is to
// be raised, it asks for a pass over the processes, which can distinguish growth
// from a leak. In a surge that pass would come too late: a limit is raised at once
// for use that cannot be a leak.
type surgeWatcher struct {
	policy      func() inotify.Policy
	lastUsage   func() inotify.Usage // what the last pass has seen
	requestPass func()               // asks for a pass
	raise       func(ctx context.Context, floors []inotify.Floor, since func() time.Duration) bool

	mu       sync.Mutex
	source   inotify.AccountSource  // nil while there is none
	notifier *bpf.ThresholdNotifier // nil while there is none
	accounts []inotify.AccountUsage
	at       time.Time
	peaks    []peak // since, after which nothing was raised
	// The limits that full was called for last.
	instances, watches raisedLimit
}

// peak is what an account was when the alarm rang.
type peak struct {
	account inotify.AccountUsage
	at      time.Time
}

func newSurgeWatcher(t *inotifyTask, full func()) *surgeWatcher {
	return &surgeWatcher{
		policy:      func() inotify.Policy { return t.agent.config.Load().Inotify },
		lastUsage:   func() inotify.Usage { return t.agent.latest.Snapshot().Inotify.Value },
		requestPass: full, raise: t.raiseInSurge,
	}
}

// raisedLimit is a limit that was nearly used up.
type raisedLimit struct {
	limit inotify.Limit
	at    time.Time
}

// setSource makes l what is looked at, and ends the alarm that was of another one.
func (l *surgeWatcher) setSource(ledger inotify.AccountSource) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopNotifier()
	l.source, l.accounts, l.peaks = ledger, nil, nil
}

func (l *surgeWatcher) stopNotifier() {
	if l.notifier != nil {
		_ = l.notifier.Close()
	}
	l.notifier = nil
}

// start makes l look whenever the alarm rings.
func (l *surgeWatcher) start(ctx context.Context, alarm *bpf.ThresholdNotifier) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notifier = alarm
	l.read(time.Now()) // which sets it
	go l.listen(ctx, alarm)
}

func (l *surgeWatcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(l.interval()):
			l.poll(time.Now())
		}
	}
}

func (l *surgeWatcher) interval() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.notifier != nil {
		return notifiedPollInterval
	}
	return pollInterval
}

// poll looks once. A ledger that fails is the next pass's to report.
func (l *surgeWatcher) poll(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if accounts, ok := l.read(now); ok {
		l.requestPassIfNear(accounts, now)
	}
}

// requestPassIfNear asks for a pass where a limit is nearly used up.
func (l *surgeWatcher) requestPassIfNear(accounts []inotify.AccountUsage, now time.Time) {
	share := l.policy().RaisePercent
	near := false
	for _, a := range accounts {
		if a.Level > 0 {
			continue // has limits of its own namespace, which nodetune does not raise
		}
		near = l.instances.needsPass(a.Instances, a.InstancesLimit, share, now) || near
		near = l.watches.needsPass(a.Watches, a.WatchesLimit, share, now) || near
	}
	if near {
		l.requestPass()
	}
}

// read reads the accounts, and sets the alarm by them.
func (l *surgeWatcher) read(now time.Time) ([]inotify.AccountUsage, bool) {
	if l.source == nil {
		return nil, false
	}
	accounts, err := l.source.Accounts()
	if err != nil {
		return nil, false
	}
	l.accounts, l.at, l.peaks = accounts, now, nil
	l.setThresholds()
	return accounts, true
}

// setThresholds sets the alarm by what was seen last, and since.
func (l *surgeWatcher) setThresholds() {
	if l.notifier == nil {
		return
	}
	peaks := make([]inotify.AccountUsage, len(l.peaks))
	for i, p := range l.peaks {
		peaks[i] = p.account
	}
	if err := l.notifier.Set(inotify.NextThresholds(l.accounts, peaks, l.lastUsage().Limits, l.policy().RaisePercent)); err != nil {
		l.stopNotifier()
	}
}

// listen looks whenever the alarm rings, until it is closed.
func (l *surgeWatcher) listen(ctx context.Context, alarm *bpf.ThresholdNotifier) {
	for {
		rung, err := alarm.Wait()
		if err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.notifier == alarm {
				l.stopNotifier()
			}
			return
		}
		l.onNotify(ctx, rung.Account, rung.Since)
	}
}

const (
	// surgePolls is how often a surge is looked at once it has begun, or once
	// something was raised, at least surgeLook apart: the first look may come
	// when the agent has just taken the CPU from the process that it looks for.
	surgePolls        = 3
	surgePollInterval = time.Millisecond
)

// onNotify raises what would be used up before the next look, until nothing would.
func (l *surgeWatcher) onNotify(ctx context.Context, then inotify.AccountUsage, since func() time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.source == nil {
		return
	}
	l.peaks = append(l.peaks, peak{then, time.Now().Add(-since())})
	was, at := l.accounts, l.at
	if !slices.ContainsFunc(was, func(c inotify.AccountUsage) bool { return c.Owner == then.Owner }) {
		was = append(slices.Clip(was), inotify.AccountUsage{Owner: then.Owner}) // had nothing
	}
	raised, unsure := false, false
	for looks := 0; looks < surgePolls && ctx.Err() == nil; looks++ {
		if looks > 0 {
			time.Sleep(surgePollInterval)
		}
		accounts, err := l.source.Accounts()
		if err != nil {
			return
		}
		now := time.Now()
		surges := inotify.Surge(was, accounts, now.Sub(at))
		for _, p := range l.peaks {
			surges = append(surges, inotify.Surge([]inotify.AccountUsage{p.account}, accounts, now.Sub(p.at))...)
		}
		var raise []inotify.Floor
		raise, unsure = inotify.RaiseBetween(l.lastUsage(), accounts, surges, l.policy())
		was, at = accounts, now
		if len(raise) > 0 && l.raise(ctx, raise, since) {
			raised, looks = true, 0
		}
	}
	if unsure {
		l.requestPass()
	} else {
		l.requestPassIfNear(was, at)
	}
	if raised {
		l.accounts, l.at, l.peaks = was, at, nil
	}
	// Otherwise it rings before the next look only for what is higher, since anybody
	// could make it ring all the time by taking instances and closing them. Not
	// never: a storm may pause while it is looked at, for the kernel waits for RCU
	// where it doubles a table of descriptors.
	l.setThresholds()
}

// needsPass reports whether so much of a limit is used that it is worth a pass. One
// that was not raised after the last is not for a while: any user could make
// the agent walk all the time by taking instances and closing them.
func (m *raisedLimit) needsPass(used int64, limit inotify.Limit, share float64, now time.Time) bool {
	if limit.Percent(used) < share || m.limit == limit && now.Sub(m.at) < busyInterval {
		return false
	}
	*m = raisedLimit{limit, now}
	return true
}
