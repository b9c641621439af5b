package disk

import (
	"fmt"
	"time"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/field"
)

// assessReaders judges the readers. It reports a reader that has stopped reading
// while its file grows, and a container's log that grows while no process follows
// it. The second counts only on a node where a process has followed the log of some
// container: without a collector, nothing is stalled.
func assessReaders(u Usage, p logs.ReadersPolicy, collected bool, now time.Time) Assessment {
	var stalled []logs.Reader
	for _, r := range u.Readers {
		if r.StalledSince != nil {
			stalled = append(stalled, r)
		}
	}
	if len(stalled) > 0 {
		r := stalled[0] // the one with the most unread: readers are sorted
		return Assessment{Bad, ReasonStalled, fmt.Sprintf("%s has stopped reading with %s unread of %s%s; %s",
			collectorName(r), field.Size(r.LagBytes), logName(r), others(len(stalled)-1), r.Advice())}
	}
	var alone []logs.Unfollowed
	young := false
	for _, x := range u.Unfollowed {
		switch {
		case x.GrewBytes == 0 || x.Since == nil || p.Excludes(x.Namespace, x.Pod):
		case now.Sub(*x.Since) >= p.UnfollowedAfter.D():
			alone = append(alone, x)
		default:
			young = true
		}
	}
	switch {
	case len(alone) > 0 && collected:
		x := alone[0]
		return Assessment{Bad, ReasonUnfollowed, fmt.Sprintf("no process follows the log of %s/%s:%s, which grew by %s%s; a collector that was refused a watch may need a restart",
			x.Namespace, x.Pod, x.Container, field.Size(x.GrewBytes), others(len(alone)-1))}
	case young && collected:
		return Assessment{Between, ReasonReading, "new logs are not followed yet"}
	}
	return Assessment{Clear, ReasonReading, "every reader moves"}
}

func others(logs int) string {
	if logs == 0 {
		return ""
	}
	return " and " + field.Count(logs, "more log", "more logs")
}

func collectorName(r logs.Reader) string {
	if r.Who.Pod != "" {
		return r.Who.Namespace + "/" + r.Who.Pod
	}
	if r.Who.Unit != "" {
		return r.Who.Unit
	}
	return fmt.Sprintf("%q (pid %d)", r.Comm, r.PID)
}

func logName(r logs.Reader) string {
	if r.Log.Pod != "" {
		return r.Log.Namespace + "/" + r.Log.Pod + ":" + r.Log.Container
	}
	return fmt.Sprintf("%q", r.Path)
}
