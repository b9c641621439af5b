package page

import (
	"fmt"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/text"
)

// failingCalls is one trouble for the process whose calls failed last, and what
// it has met.
func failingCalls(in Input) ([]Trouble, inotify.SyscallFailure) {
	u, ok := inotifyUsage(in)
	if !ok {
		return nil, inotify.SyscallFailure{}
	}
	all := text.LimitFailures(u.Refusals)
	if len(all) == 0 {
		return nil, inotify.SyscallFailure{}
	}
	f := all[0]
	t := Trouble{Kind: KindFailingCalls, State: Critical, Since: in.pressureSince(f.Resource)}
	t.Summary = fmt.Sprintf("%s cannot watch its files: %s", failedProcess(&f), text.SyscallFailureReason(f))
	if f.Limit >= 0 {
		t.Summary += fmt.Sprintf(" (%d of %d)", f.Used, f.Limit)
	}
	t.Summary += fmt.Sprintf("; %s failed %s", f.Call, times(f.Count))
	if n := len(all) - 1; n > 0 {
		t.Summary += " (and " + field.Count(n, "more process", "more processes") + ")"
	}
	t.Next, t.Then = in.why(f.PID), "shows which limit it has met, and what helps"
	if top, ok := holder(u, f); ok {
		t.Cause = fmt.Sprintf("%s holds %d of the %s", processName(&top), heldOf(&top, f.Resource), nouns[f.Resource])
		t.Next, t.Then = in.why(top.PID), "shows what it holds: that comes back when it ends"
	}
	if now, has := room(u, f); has {
		// What it was refused it does not get by a higher limit: most never ask again.
		t.State = Warning
		t.Summary += fmt.Sprintf("; the limit is %d now, of which %d are in use", now.Limit, now.Used)
		t.Next, t.Then = in.restart(workload.Workload{Namespace: f.Namespace, Pod: f.Pod, Unit: f.Unit}, f.PID)
	}
	t.did(in, text.ResourceKey(f.Resource), "nothing: this limit is not one that it raises", reporter.ActRaise, reporter.ActUndoDrift)
	return []Trouble{t}, f
}

// room returns the limit that f has met as it is now, and whether there is room.
func room(u inotify.Usage, f inotify.SyscallFailure) (now inotify.LimitPressure, has bool) {
	for _, a := range u.Accounts {
		if f.Owner == nil || a.Owner != *f.Owner {
			continue
		}
		switch f.Resource {
		case inotify.Instances:
			now.Used, now.Limit = a.Instances, a.InstancesLimit
		case inotify.Watches:
			now.Used, now.Limit = a.Watches, a.WatchesLimit
		}
	}
	return now, now.Limit > 0 && now.Limit.Percent(now.Used) < roomPercent
}

// roomPercent: below that a collector that starts again finds room.
const roomPercent = 90

// pressureSince is since when the condition about r is True.
func (in Input) pressureSince(r inotify.Resource) *time.Time {
	kind := condition.InotifyPressure
	switch r {
	case inotify.OpenFiles:
		kind = condition.FileDescriptorPressure
	case inotify.Instances, inotify.Watches:
	default:
		return nil
	}
	return in.since(condition.Evaluation{Type: kind, Severity: condition.Bad})
}

// holder is the process that holds most of what f was refused, where that is more
// than a tenth of it.
func holder(u inotify.Usage, f inotify.SyscallFailure) (inotify.Process, bool) {
	for _, a := range u.Accounts {
		if f.Owner == nil || a.Owner != *f.Owner {
			continue
		}
		pid := a.TopPID
		if f.Resource == inotify.Watches {
			pid = a.TopWatchesPID
		}
		p, ok := u.Process(pid)
		return p, ok && nouns[f.Resource] != "" && p.PID != f.PID && heldOf(&p, f.Resource) > f.Used/10
	}
	return inotify.Process{}, false
}

// nouns are what is charged to accounts.
var nouns = map[inotify.Resource]string{inotify.Instances: "inotify instances", inotify.Watches: "inotify watches"}

func heldOf(p *inotify.Process, r inotify.Resource) int64 {
	switch r {
	case inotify.Instances:
		return p.Instances
	case inotify.Watches:
		return p.Watches
	}
	return p.FDs
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
