package inotify

import (
	"fmt"

	"github.com/nodetune/nodetune/internal/field"
)

// Unseen returns why an account may use more of its limits than u shows, "" if
// u shows all of it. Without pressure in u, such a node is unknown and not
// healthy.
//
// It depends on what nodetune may read. Limits that a process sets for its own
// user namespace do not matter.
func Unseen(u Usage, t Policy) string {
	if u.Source != SourceKernel {
		unreadable := 0
		for _, r := range u.Walk.Unreadable {
			unreadable += r.Processes
		}
		switch {
		case u.Partial:
			return field.Count(u.Walk.Omitted, "process is", "processes are") + " left of a walk of /proc that takes more than one pass"
		case unreadable > 0:
			return fmt.Sprintf("%d of %d processes could not be read: that needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", unreadable, u.Walk.Processes)
		case u.OwnPIDNamespace:
			return "only the processes of nodetune's own pid namespace are visible: run it with hostPID"
		}
	}
	return unknownLimit(u, t)
}

// unknownLimit returns which use or limit of an account of the node is unknown.
func unknownLimit(u Usage, t Policy) string {
	for i := range u.Accounts {
		a := &u.Accounts[i]
		if a.Level > 0 {
			continue
		}
		switch {
		case a.InstancesLimit < 0:
			return "fs.inotify.max_user_instances could not be read"
		case a.WatchesLimit < 0:
			return "fs.inotify.max_user_watches could not be read"
		case a.InstancesQuality == Unknown:
			return fmt.Sprintf("the inotify instances of uid %d could not be counted", a.UID)
		case a.WatchesQuality == Unknown && t.CountWatches && !u.watchesFit(t):
			return fmt.Sprintf("the inotify watches of uid %d could not be counted", a.UID)
		}
	}
	return ""
}

// watchesFit reports whether all the watches of the node together are below the
// share of the limit of one account where pressure ends.
func (u *Usage) watchesFit(t Policy) bool {
	known := u.WatchesQuality == Exact || u.WatchesQuality == UpperBound
	return known && u.Limits.Watches > 0 && u.Limits.Watches.Percent(u.Watches) < t.ClearPercent
}
