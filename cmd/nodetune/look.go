package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nodetune/nodetune/inotify"
)

// lookEvery is how often the kernel's counters are looked at between two
// passes. A look takes 15 µs, so that this is 0.02 % of a core.
const lookEvery = 100 * time.Millisecond

// look asks for a pass as soon as an account uses so much of a limit that it is
// to be raised, rather than up to two minutes later. It does not raise by
// itself: whether growth is a leak only a pass over the processes can tell.
type look struct {
	ledger atomic.Pointer[ledger] // nil while there is none
	policy func() inotify.Policy
	full   func()
	// The limits that full was called for last.
	instances, watches met
}

// ledger is an inotify.Ledger that can be pointed to.
type ledger struct{ inotify.Ledger }

// met is a limit that was nearly used up.
type met struct {
	limit inotify.Limit
	at    time.Time
}

func (l *look) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			l.once(time.Now())
		}
	}
}

// once looks once. A ledger that fails is the next pass's to report.
func (l *look) once(now time.Time) {
	from := l.ledger.Load()
	if from == nil {
		return
	}
	accounts, err := from.Accounts()
	if err != nil {
		return
	}
	share := l.policy().RaisePercent
	ask := false
	for _, a := range accounts {
		if a.Level > 0 {
			continue // has limits of its own namespace, which nobody raises
		}
		ask = l.instances.again(a.Instances, a.InstancesLimit, share, now) || ask
		ask = l.watches.again(a.Watches, a.WatchesLimit, share, now) || ask
	}
	if ask {
		l.full()
	}
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
