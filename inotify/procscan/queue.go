package procscan

import (
	"time"

	"github.com/nodetune/nodetune/inotify"
)

// queues remembers for how long the events of an instance were not read.
type queues map[queueKey]*queue

type queueKey struct {
	pid      int
	start    uint64
	instance uint64
}

type queue struct {
	events int64
	since  time.Time // that it is not empty and has not become shorter
	pass   time.Time
}

// add adds an instance that p holds: p shows its fullest queue, and the one that
// was not read for longest.
func (q queues) add(p *inotify.Process, in *inotify.TableInstance, now time.Time) {
	if in.QueuedEvents > p.QueuedEvents || p.QueuedEventsLimit == 0 {
		p.QueuedEvents, p.QueuedEventsLimit = in.QueuedEvents, in.QueuedEventsLimit
	}
	if in.QueuedEvents == 0 {
		return
	}
	key := queueKey{p.PID, p.Start, in.Number}
	k := q[key]
	switch {
	case k == nil:
		k = &queue{since: now}
		q[key] = k
	case in.QueuedEvents < k.events:
		k.since = now
	}
	k.events, k.pass = in.QueuedEvents, now
	if unread := int64(now.Sub(k.since).Seconds()); unread > p.EventsUnreadSeconds {
		p.EventsUnreadSeconds = unread
	}
}

// forget drops the queues that were found empty, or not at all.
func (q queues) forget(now time.Time) {
	for key, k := range q {
		if k.pass != now {
			delete(q, key)
		}
	}
}
