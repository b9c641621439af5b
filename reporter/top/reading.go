package top

import (
	"time"

	"github.com/nodetune/nodetune/inotify"
)

// reading is what one pass saw, and what has changed since the ones before.
type reading struct {
	inotify.Usage
	owners  map[inotify.Owner]growth
	holders map[int]growth // by pid
}

// growth is per minute.
type growth struct {
	instances, watches, fds float64
	full                    time.Duration // until the limit is reached; 0: not foreseen
}

// foreseeable is how far ahead it is worth saying when a limit is reached.
const foreseeable = 7 * 24 * time.Hour

// newReading takes u into the history and asks it what grows. That takes some
// microseconds for each row, so it is done once a pass and not while drawing.
func newReading(u inotify.Usage, h *inotify.History, at time.Time, every time.Duration) *reading {
	h.Add(at, u, every)
	r := &reading{Usage: u, owners: map[inotify.Owner]growth{}, holders: map[int]growth{}}
	for i := range u.Accounts {
		r.owners[u.Accounts[i].Owner] = perMinute(h.Account(u.Accounts[i].Owner))
	}
	for i := range u.Processes {
		r.holders[u.Processes[i].PID] = perMinute(h.Process(u.Processes[i]))
	}
	for _, f := range h.Forecasts(u, foreseeable) {
		if f.Owner == nil {
			continue
		}
		if g := r.owners[*f.Owner]; g.full == 0 { // the nearest comes first
			g.full = max(f.In, 1)
			r.owners[*f.Owner] = g
		}
	}
	return r
}

func perMinute(g inotify.Growth) growth {
	return growth{instances: g.Instances / 60, watches: g.Watches / 60, fds: g.FDs / 60}
}

// most is what grows fastest.
func (g growth) most() float64 { return max(g.instances, g.watches, g.fds) }
