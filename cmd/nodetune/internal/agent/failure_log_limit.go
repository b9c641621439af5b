package agent

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/nodetune/nodetune/inotify"
)

// failureLogLimit bounds how many failed calls are logged: few for each user and
// resource, so that one user's program that changes its name is a few lines, and
// few for all users together, since a process may have as many users as its user
// namespace. Metrics count every call.
type failureLogLimit struct {
	all     *rate.Limiter
	buckets map[failureBucket]*rate.Limiter
	omitted int // since the last line that was logged
}

type failureBucket struct {
	resource inotify.Resource
	uid      uint32
}

const (
	failureLogBurst    = 3 // lines of one user at once, then
	failureLogInterval = 10 * time.Minute
	allFailureLogBurst = 20 // lines of all users at once, then
	allFailureInterval = 30 * time.Second
	maxFailureBuckets  = 1024
)

// allow reports whether f is logged at now, and how many were not since the last
// one that was.
func (l *failureLogLimit) allow(f inotify.SyscallFailure, now time.Time) (omitted int, ok bool) {
	if l.all == nil || len(l.buckets) >= maxFailureBuckets {
		// The common limit stays: forgetting the users does not open the log.
		l.buckets = make(map[failureBucket]*rate.Limiter)
	}
	if l.all == nil {
		l.all = rate.NewLimiter(rate.Every(allFailureInterval), allFailureLogBurst)
	}
	k := failureBucket{f.Resource, f.UID}
	if l.buckets[k] == nil {
		l.buckets[k] = rate.NewLimiter(rate.Every(failureLogInterval), failureLogBurst)
	}
	if !l.buckets[k].AllowN(now, 1) || !l.all.AllowN(now, 1) {
		l.omitted++
		return 0, false
	}
	omitted, l.omitted = l.omitted, 0
	return omitted, true
}
