package containerlog

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// containerLog is the live log of a container.
type containerLog struct {
	log  workload.Log
	name []byte       // below pods, with its NUL
	wait time.Time    // not looked at before: its reader is behind, or it failed
	lags bool         // its reader is behind, or not known
	read time.Time    // when a reader of it was last seen, or expected to begin
	file hostfs.Inode // the last that was seen under its name, unless that was ours to change
	size uint64       // of it, then
	over time.Time    // since when it is seen over its limit
	seen bool
	// When the size was read, and how much had been written to all files then.
	asked   time.Time
	dirtied uint64
}

// within reports whether l is below the limit for certain: all files together have
// grown by less, since it was asked, than it lacks.
func (l *containerLog) within(limit, dirtied uint64, now time.Time) bool {
	return l.seen && l.size < limit && dirtied-l.dirtied < limit-l.size && now.Sub(l.asked) < relistEvery && !now.Before(l.asked)
}

// awaited reports whether the log's reader is expected to open what has its name now.
func (l *containerLog) awaited(now time.Time) bool {
	return !l.read.IsZero() && now.Sub(l.read) < followedFor
}

// followed reports whether a process was seen to read the log lately, whatever file it
// has now.
func (l *containerLog) followed(now time.Time) bool {
	return !l.read.IsZero() && now.Sub(l.read) < rememberedFor
}

// reading is what is known of the readers of a log that is due.
type reading struct {
	reading bool // a process reads it now
	state   archive.ReadState
	lag     uint64 // of a reader that is behind, or is expected
}

// assess returns what is known of the readers of a log. That none is seen does not mean
// that there is none: a collector may open and close the log.
func assess(openers []logdir.Opener, st *unix.Statx_t, l *containerLog, now time.Time) reading {
	is := reading{reading: slices.ContainsFunc(openers, logdir.Opener.Reads)}
	o, behind := logdir.Behind(openers, st, logdir.ReadMargin)
	switch {
	case behind:
		is.state, is.lag = archive.StateUnread, st.Size-min(o.OffsetBytes, st.Size)
	case is.reading:
		is.state = archive.StateRead
	case l.awaited(now):
		is.state, is.lag = archive.StateUnread, st.Size
	case l.followed(now):
		is.state = archive.StateUnread
	default:
		is.state = archive.StateUnknown
	}
	return is
}

// wait returns when to look at the log again before it is rotated, or 0. A log of which
// no reader is seen is the kubelet's to rotate, until that is late: each rotation takes
// one archive of the few that a collector that opens and closes them has to find.
func (is reading) wait(l *containerLog, late time.Duration, now time.Time) time.Duration {
	switch {
	case is.lag > 0:
		return min(max(time.Duration(is.lag/readSpeed)*time.Second, PollInterval), relistEvery)
	case !is.reading && (l.over.IsZero() || now.Sub(l.over) < late):
		return time.Second
	}
	return 0
}
