package page

import (
	"fmt"
	"slices"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

// worst is the fullest limit of the node of one of these kinds.
func worst(in Input, kinds ...inotify.Resource) (inotify.LimitPressure, bool) {
	for _, f := range in.Snapshot.Inotify.Value.Findings { // the fullest first
		if f.Pressure && f.OfNode() && slices.Contains(kinds, f.Resource) {
			return f, true
		}
	}
	return inotify.LimitPressure{}, false
}

// setCause names the process that holds most, and the line that explains it.
func (t *Trouble) setCause(in Input, f inotify.LimitPressure) {
	t.Next, t.Then = in.nodetune("top --once"), "lists who holds the most"
	if f.Top != nil {
		t.Cause = fmt.Sprintf("%s holds %d", processName(f.Top), heldOf(f.Top, f.Resource))
		t.Next, t.Then = in.why(f.Top.PID), "shows which limit it meets, and what helps"
	}
}

func limitPressure(in Input, t *Trouble) {
	t.Kind = KindLimitPressure
	f, ok := worst(in, inotify.Instances, inotify.Watches)
	if !ok {
		return
	}
	happens := "at the limit the next collector fails to start, errno 24 (EMFILE)"
	if f.Resource == inotify.Watches {
		happens = "at the limit collectors miss new log files, errno 28 (ENOSPC)"
	}
	t.Summary = fmt.Sprintf("uid %d uses %d of its %d %s (%.0f %%): %s", f.Owner.UID, f.Used, f.Limit, nouns[f.Resource], floor(f.Percent), happens)
	t.State = stateOfShare(f.Percent, in.Policy)
	t.setCause(in, f)
	t.did(in, text.ResourceKey(f.Resource), notRaised(in, f), reporter.ActRaise, reporter.ActUndoDrift)
}

// notRaised is why a limit has not been raised.
func notRaised(in Input, f inotify.LimitPressure) string {
	key := text.ResourceKey(f.Resource)
	if r, ok := sysctlResult(in); ok && r.Paused != "" {
		return "nothing: it is paused by " + shorten(r.Paused)
	}
	for _, raise := range inotify.Raise(in.Snapshot.Inotify.Value, nil, in.Policy) {
		if raise.Key == key && raise.HeldBack != "" {
			return "nothing: " + shorten(raise.HeldBack)
		}
	}
	if ceiling := in.ceiling(key); ceiling >= 0 && f.Limit >= ceiling {
		return fmt.Sprintf("nothing: %s is at its ceiling of %d; more needs a larger ceiling in its rule (sysctl.rules)", key, ceiling)
	}
	return "nothing yet: it raises the limit with the next pass"
}

func openFiles(in Input, t *Trouble) {
	t.Kind = KindOpenFiles
	f, ok := worst(in, inotify.OpenFiles)
	if !ok {
		return
	}
	t.Summary = fmt.Sprintf("%d of %d open files of the node are in use (%.0f %%): at the limit every open(2) fails, errno 23 (ENFILE)", f.Used, f.Limit, floor(f.Percent))
	t.State = stateOfShare(f.Percent, in.Policy)
	t.setCause(in, f)
	t.did(in, string(sysctl.FileMax), "nothing: fs.file-max is at its floor, and nodetune does not raise it further", reporter.ActRaise, reporter.ActUndoDrift)
}

// floor rounds a share down: 100 % means that the limit is reached.
func floor(percent float64) float64 { return float64(int64(min(percent, 9999))) }

func limitNotHeld(in Input, t *Trouble) {
	t.Kind = KindLimitNotHeld
	r := in.Snapshot.Sysctl.Value
	unmet := r.Unsatisfied()
	if len(unmet) == 0 {
		return
	}
	s := unmet[0]
	for _, other := range unmet { // another apply helps least against these
		if other.Outcome != sysctl.Drifted {
			s = other
			break
		}
	}
	t.Summary = fmt.Sprintf("%s is %s, wanted at least %s", s.Key, s.Value, s.Want)
	if s.Op != sysctl.AtLeast {
		t.Summary = fmt.Sprintf("%s is %s, wanted %s", s.Key, s.Value, s.Want)
	}
	if n := len(unmet) - 1; n > 0 {
		t.Summary += fmt.Sprintf(" (and %d more)", n)
	}
	if s.Reason != "" {
		t.Summary += ": " + safetext.String(s.Reason)
	}
	t.Cause = r.ObservedWrites.LoweredBy(s.Key, in.Now)
	none := "nothing yet: it writes with the next pass"
	switch {
	case r.Paused != "":
		none = "nothing: it is paused by " + r.Paused
		t.Next, t.Then = resume(r.Paused), "lets nodetune write again"
	case s.Outcome == sysctl.Drifted:
		t.Next, t.Then = in.nodetune("apply"), "raises it and reads it back"
	default:
		t.Next, t.Then = in.nodetune("explain "+string(s.Key)), "shows which file or program sets it"
	}
	t.did(in, string(s.Key), none, reporter.ActRaise, reporter.ActUndoDrift, reporter.ActHold)
}

// resume is the line that ends a pause.
func resume(file string) string {
	if !isFileName(file) {
		return "ls -l /run/nodetune"
	}
	return "sudo rm " + file
}

// ownLimits are those that a process, or a user namespace, has for itself: the
// fullest, and how many more there are.
func ownLimits(in Input) (all []Trouble, more int) {
	u, ok := inotifyUsage(in)
	if !ok {
		return nil, 0
	}
	for _, f := range u.Findings { // the fullest first
		if !f.Pressure || f.OfNode() && f.Resource != inotify.NOFILE || f.Resource == inotify.NOFILE && f.Top == nil {
			continue
		}
		if len(all) == maxTroubles {
			more++
			continue
		}
		t := Trouble{Kind: KindOwnLimit, State: Warning}
		t.setCause(in, f)
		if f.Resource == inotify.NOFILE {
			t.Summary = fmt.Sprintf("%s has %d of its %d descriptors open (%.0f %%): at the limit it fails with errno 24 (EMFILE), which no sysctl prevents", processName(f.Top), f.Used, f.Limit, floor(f.Percent))
			t.Cause = ""
			t.did(in, fmt.Sprintf("%s[%d]", f.Top.Comm, f.Top.PID), "nothing: inotify.raiseNOFILE does not name this program", reporter.ActRaiseNOFILE)
		} else {
			t.Summary = fmt.Sprintf("uid %d of user namespace %d uses %d of its own limit of %d (%.0f %%)", f.Owner.UID, f.Owner.UserNS, f.Used, f.Limit, floor(f.Percent))
			t.DidNot = "nothing: the limit is set inside the user namespace"
		}
		all = append(all, t)
	}
	return all, more
}
