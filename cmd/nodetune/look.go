package main

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
	lookEvery = 100 * time.Millisecond
	calmEvery = time.Second
)

// look looks at the kernel's counters between two passes, and as soon as the
// kernel rings an alarm. Where an account uses so much of a limit that it is to
// be raised, it asks for a pass over the processes, which can tell growth from a
// leak. In a surge that would come too late: what nobody can have leaked is
// raised at once.
type look struct {
	policy func() inotify.Policy
	last   func() inotify.Usage // what the last pass has seen
	full   func()               // asks for a pass
	raise  func(ctx context.Context, floors []inotify.Floor, since func() time.Duration) bool

	mu     sync.Mutex
	ledger inotify.Ledger         // nil while there is none
	alarm  *bpf.ThresholdNotifier // nil while there is none
	was    []inotify.Charged
	at     time.Time
	peaks  []peak // since, after which nothing was raised
	// The limits that full was called for last.
	instances, watches met
}

// peak is what an account was when the alarm rang.
type peak struct {
	account inotify.Charged
	at      time.Time
}

func newLook(t *usageTask, full func()) *look {
	return &look{
		policy: func() inotify.Policy { return t.agent.config.Load().Inotify },
		last:   func() inotify.Usage { return t.agent.latest.Snapshot().Inotify.Value },
		full:   full, raise: t.raiseNow,
	}
}

// met is a limit that was nearly used up.
type met struct {
	limit inotify.Limit
	at    time.Time
}

// from makes l what is looked at, and ends the alarm that was of another one.
func (l *look) from(ledger inotify.Ledger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silence()
	l.ledger, l.was, l.peaks = ledger, nil, nil
}

func (l *look) silence() {
	if l.alarm != nil {
		_ = l.alarm.Close()
	}
	l.alarm = nil
}

// ring makes l look whenever the alarm rings.
func (l *look) ring(ctx context.Context, alarm *bpf.ThresholdNotifier) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alarm = alarm
	l.look(time.Now()) // which sets it
	go l.listen(ctx, alarm)
}

func (l *look) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(l.every()):
			l.once(time.Now())
		}
	}
}

func (l *look) every() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.alarm != nil {
		return calmEvery
	}
	return lookEvery
}

// once looks once. A ledger that fails is the next pass's to report.
func (l *look) once(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if accounts, ok := l.look(now); ok {
		l.ask(accounts, now)
	}
}

// ask asks for a pass where a limit is nearly used up.
func (l *look) ask(accounts []inotify.Charged, now time.Time) {
	share := l.policy().RaisePercent
	near := false
	for _, a := range accounts {
		if a.Level > 0 {
			continue // has limits of its own namespace, which nobody raises
		}
		near = l.instances.again(a.Instances, a.InstancesLimit, share, now) || near
		near = l.watches.again(a.Watches, a.WatchesLimit, share, now) || near
	}
	if near {
		l.full()
	}
}

// look reads the accounts, and sets the alarm by them.
func (l *look) look(now time.Time) ([]inotify.Charged, bool) {
	if l.ledger == nil {
		return nil, false
	}
	accounts, err := l.ledger.Accounts()
	if err != nil {
		return nil, false
	}
	l.was, l.at, l.peaks = accounts, now, nil
	l.set()
	return accounts, true
}

// set sets the alarm by what was seen last, and since.
func (l *look) set() {
	if l.alarm == nil {
		return
	}
	peaks := make([]inotify.Charged, len(l.peaks))
	for i, p := range l.peaks {
		peaks[i] = p.account
	}
	if err := l.alarm.Set(inotify.LookAgain(l.was, peaks, l.last().Limits, l.policy().RaisePercent)); err != nil {
		l.silence()
	}
}

// listen looks whenever the alarm rings, until it is closed.
func (l *look) listen(ctx context.Context, alarm *bpf.ThresholdNotifier) {
	for {
		rung, err := alarm.Wait()
		if err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.alarm == alarm {
				l.silence()
			}
			return
		}
		l.rung(ctx, rung.Account, rung.Since)
	}
}

const (
	// surgeLooks is how often a surge is looked at once it has begun, or once
	// something was raised, at least surgeLook apart: the first look may come
	// when the agent has just taken the CPU from whoever it looks for.
	surgeLooks = 3
	surgeLook  = time.Millisecond
)

// rung raises what would be used up before the next look, until nothing would.
func (l *look) rung(ctx context.Context, then inotify.Charged, since func() time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ledger == nil {
		return
	}
	l.peaks = append(l.peaks, peak{then, time.Now().Add(-since())})
	was, at := l.was, l.at
	if !slices.ContainsFunc(was, func(c inotify.Charged) bool { return c.Owner == then.Owner }) {
		was = append(slices.Clip(was), inotify.Charged{Owner: then.Owner}) // had nothing
	}
	raised, unsure := false, false
	for looks := 0; looks < surgeLooks && ctx.Err() == nil; looks++ {
		if looks > 0 {
			time.Sleep(surgeLook)
		}
		accounts, err := l.ledger.Accounts()
		if err != nil {
			return
		}
		now := time.Now()
		surges := inotify.Surge(was, accounts, now.Sub(at))
		for _, p := range l.peaks {
			surges = append(surges, inotify.Surge([]inotify.Charged{p.account}, accounts, now.Sub(p.at))...)
		}
		var raise []inotify.Floor
		raise, unsure = inotify.RaiseBetween(l.last(), accounts, surges, l.policy())
		was, at = accounts, now
		if len(raise) > 0 && l.raise(ctx, raise, since) {
			raised, looks = true, 0
		}
	}
	if unsure {
		l.full()
	} else {
		l.ask(was, at)
	}
	if raised {
		l.was, l.at, l.peaks = was, at, nil
	}
	// Otherwise it rings before the next look only for what is higher, since anybody
	// could make it ring all the time by taking instances and closing them. Not
	// never: a storm may pause while it is looked at, for the kernel waits for RCU
	// where it doubles a table of descriptors.
	l.set()
}

// again reports whether so much of a limit is used that it is worth a pass. One
// that was not raised after the last is not for a while: any user could make
// the agent walk all the time by taking instances and closing them.
func (m *met) again(used int64, limit inotify.Limit, share float64, now time.Time) bool {
	if limit.Percent(used) < share || m.limit == limit && now.Sub(m.at) < usageNear {
		return false
	}
	*m = met{limit, now}
	return true
}
