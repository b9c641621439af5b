package kube

import (
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/nodetune/nodetune/reporter/condition"
)

// writeSchedule decides when a difference is written. It holds no clock and draws no
// random number itself: random is a number in [0, 1) drawn by the caller.
type writeSchedule struct {
	differs time.Time     // a prompt difference is seen since; zero: there is none
	delay   time.Duration // how long it is held, drawn when it was first seen

	wrote       time.Time     // the last write that succeeded
	lastWritten string        // its content
	overwritten int           // how often in a row it had to be written again
	period      time.Duration // of the heartbeat, drawn again after each write

	failures    int
	retry       time.Time // not before
	serverRetry time.Time // not before, because the API server asked for it
	hurried     time.Time // when retryNow last shortened the wait
	refused     string    // what the API server refused for good
	conflicts   int       // in a row, each answered by reading the Node
}

// The first retry and the longest wait between two. 5,000 nodes that retry
// every five minutes are 17 requests a second for a server that comes back.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// debounce is the debounce: a rollout or a common cause flips thousands of nodes
// at once, so each draws its own delay. A node whose conditions another writer
// overwrites again and again doubles it up to the time between two messages.
func (p *writeSchedule) debounce(policy condition.Policy, random float64) time.Duration {
	d := policy.Debounce.D() + time.Duration(random*float64(policy.Jitter.D()))
	for range p.overwritten {
		if d *= 2; d >= policy.MessageEvery.D() {
			return max(policy.MessageEvery.D(), policy.Debounce.D())
		}
	}
	return d
}

// heartbeat returns the period of the heartbeat, up to a fifth early or late so that
// nodes that started together part; 0 is no heartbeat.
func (p *writeSchedule) heartbeat(policy condition.Policy, random float64) time.Duration {
	if policy.Heartbeat == 0 {
		return 0
	}
	if p.period == 0 {
		p.period = time.Duration(float64(policy.Heartbeat.D()) * (0.8 + 0.4*random))
	}
	return p.period
}

// due returns when d is to be written, and false if it is not.
func (p *writeSchedule) due(d difference, policy condition.Policy, now time.Time, random float64) (time.Time, bool) {
	if !d.prompt {
		p.differs = time.Time{}
	}
	if d.empty() || p.refused == d.key() {
		return time.Time{}, false
	}
	at := p.wrote.Add(policy.MessageEvery.D())
	if d.prompt {
		if p.differs.IsZero() {
			p.differs, p.delay = now, p.debounce(policy, random)
		}
		at = p.differs.Add(p.delay)
	}
	if p.retry.After(at) {
		at = p.retry
	}
	return at, true
}

// succeeded notes that what key identifies was written.
func (p *writeSchedule) succeeded(key string, now time.Time) {
	again := 0
	if key == p.lastWritten && !p.differs.IsZero() {
		again = p.overwritten + 1
	}
	*p = writeSchedule{wrote: now, lastWritten: key, overwritten: again}
}

// failed notes that the write of key failed with err: for good, or to be tried again.
func (p *writeSchedule) failed(key string, err error, forGood bool, now time.Time, random float64) {
	if forGood {
		p.refused, p.failures, p.retry, p.serverRetry = key, 0, time.Time{}, time.Time{}
		return
	}
	p.serverRetry = now.Add(retryAfter(err, random))
	p.retry = now.Add(backoff(p.failures, random))
	if p.serverRetry.After(p.retry) {
		p.retry = p.serverRetry
	}
	p.failures++
	p.conflicts = 0
}

// backSpread is over how long the agents of a cluster spread their next try once
// the API server answers again: 5,000 of them are 170 writes a second.
const backSpread = 30 * time.Second

// retryNow shortens the wait for the next try, because the API server answers
// again, to thousands of nodes at once. It does so once in five minutes, never
// before the time that the server asked for, and the back-off goes on where it
// was: a server that answers reads and rejects writes gets no more of them.
func (p *writeSchedule) retryNow(policy condition.Policy, now time.Time, random float64) {
	soon := now.Add(policy.Debounce.D() + time.Duration(random*float64(backSpread)))
	if p.serverRetry.After(soon) {
		soon = p.serverRetry
	}
	if p.retry.After(soon) && (p.hurried.IsZero() || now.Sub(p.hurried) >= lastRetry) {
		p.retry, p.hurried = soon, now
	}
}

// backoff doubles from firstRetry to lastRetry, less up to half of it.
func backoff(failures int, random float64) time.Duration {
	d := lastRetry
	if failures < 16 {
		d = min(firstRetry<<failures, lastRetry)
	}
	return d - time.Duration(random*float64(d)/2)
}

// retryAfter is the wait that the API server asked for with err (the header
// Retry-After), up to half as long again so that the nodes it rejected together
// do not return together; at most lastRetry.
func retryAfter(err error, random float64) time.Duration {
	seconds, ok := apierrors.SuggestsClientDelay(err)
	if !ok || seconds <= 0 {
		return 0
	}
	d := min(time.Duration(seconds), lastRetry/time.Second) * time.Second
	return min(d+time.Duration(random*float64(d)/2), lastRetry)
}
