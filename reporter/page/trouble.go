package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

// troubles returns what is wrong, the most urgent first.
func troubles(in Input) List[Trouble] {
	all, met := failingCalls(in)
	for _, e := range condition.Evaluate(in.Snapshot, in.Now, in.StaleAfter, in.Policy) {
		if e.Severity != condition.Bad && e.Severity != condition.Unknown {
			continue
		}
		if e.Reason == condition.PassFailed || e.Reason == condition.PassStale {
			continue // one pass is behind several conditions: see failedPasses
		}
		if f, ok := worst(in, inotify.Instances, inotify.Watches); ok && e.Type == condition.InotifyPressure && e.Severity == condition.Bad && f.Resource == met.Resource && f.Owner != nil && met.Owner != nil && *f.Owner == *met.Owner {
			continue // the calls fail at this limit
		}
		t := troubleOf(in, e)
		t.Since = in.since(e)
		if t.Since == nil && t.Kind == KindCollectorStalled {
			t.Since = stalledSince(in)
		}
		all = append(all, t)
	}
	all = append(all, logStorms(in)...)
	own, more := ownLimits(in)
	all = append(all, own...)
	all = append(all, paused(in)...)
	all = append(all, failedPasses(in)...)
	for i := range all {
		all[i].Summary, all[i].Cause = shorten(all[i].Summary), shorten(all[i].Cause)
	}
	slices.SortStableFunc(all, func(a, b Trouble) int { return cmp.Compare(rank[b.State], rank[a.State]) })
	rows := bounded(all, maxTroubles)
	rows.More += more
	return rows
}

// since is when the condition of e got the status that e asks for.
func (in Input) since(e condition.Evaluation) *time.Time {
	want := corev1.ConditionTrue
	if e.Severity == condition.Unknown {
		want = corev1.ConditionUnknown
	}
	for _, c := range in.Conditions {
		if c.Type == e.Type && c.Status == want && !c.LastTransitionTime.IsZero() {
			return &c.LastTransitionTime.Time
		}
	}
	return nil
}

// did sets the last act of one of kinds on what, or why there is none.
func (t *Trouble) did(in Input, on string, none string, kinds ...reporter.ActKind) {
	if i := slices.IndexFunc(in.Acts, func(a reporter.Act) bool {
		return slices.Contains(kinds, a.Kind) && (on == "" || a.On == on)
	}); i >= 0 {
		did := in.Acts[i]
		t.Did = &did
		return
	}
	switch {
	case in.Once:
		t.DidNot = "this is one look, which changes nothing"
	case in.DryRun:
		t.DidNot = "nothing: it runs with --dry-run"
	default:
		t.DidNot = none
	}
}

// troubleOf is a condition that is bad, or not known.
func troubleOf(in Input, e condition.Evaluation) Trouble {
	t := Trouble{State: Warning, Summary: e.Message}
	if e.Severity == condition.Unknown {
		t.Kind, t.State, t.Next = KindNotSeen, Unknown, in.nodetune("check --verbose")
		t.Then, t.DidNot = "lists what could not be read, and why", "nothing: what is not seen is not acted upon"
		return t
	}
	switch e.Type {
	case condition.InotifyPressure:
		limitPressure(in, &t)
	case condition.FileDescriptorPressure:
		openFiles(in, &t)
	case condition.SysctlDrift:
		limitNotHeld(in, &t)
	case condition.LogDiskPressure:
		fullDisk(in, &t, e.Reason)
	case condition.LogCollectorStalled:
		stalledCollector(in, &t, e.Reason)
	}
	return t
}

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
	if !fileName.MatchString(file) {
		return "ls -l /run/nodetune"
	}
	return "sudo rm " + file
}

func fullDisk(in Input, t *Trouble, reason string) {
	t.Kind, t.State = KindDisk, Critical
	u := in.Snapshot.Disk.Value
	if p, ok := fastest(u); ok {
		t.Cause = fmt.Sprintf("%s writes %s/s and holds %s", logName(p.Workload, p.Path), field.Size(uint64(rate(p))), field.Size(p.Bytes))
	} else if len(u.Producers) > 0 { // the largest first
		p := u.Producers[0]
		t.Cause = fmt.Sprintf("%s holds the most: %s", logName(p.Workload, p.Path), field.Size(p.Bytes))
	}
	for _, f := range u.Filesystems {
		if strings.HasPrefix(u.Pressure.Message, f.Path+" has ") {
			t.Summary = filesystemSummary(f)
		}
	}
	t.Next, t.Then = in.nodetune("disk reclaim --until 80% --dry-run"), "lists what can be removed, the least valuable first; without --dry-run it removes that"
	if reason == disk.ReasonUnusable {
		t.Next, t.Then = "sudo dmesg --level=err,warn | tail -50", "shows what the kernel reports about the device"
		t.Cause = ""
	}
	none := "nothing yet: no log can be removed without loss, or it was not looked at yet"
	if in.DiskMode == disk.Observe {
		none = "nothing: disk.mode is observe, in which nodetune changes no log file"
	}
	t.did(in, "", none, reporter.ActReclaim, "remove", "rotate", "compress", "punch")
}

// filesystemSummary is how much is left of f, and what happens when.
func filesystemSummary(f filesystem.Filesystem) string {
	s := fmt.Sprintf("%s has %.1f %% available, %s of %s", f.Path, f.AvailPercent(), field.Size(f.AvailBytes), field.Size(f.SizeBytes))
	if free := f.InodesFreePercent(); free < f.AvailPercent() {
		s += fmt.Sprintf(", and %.1f %% of its inodes", free)
	}
	var soon []string
	if f.SecondsToEviction != nil {
		soon = append(soon, "the kubelet evicts pods in "+secondsText(f.SecondsToEviction))
	} else if f.EvictionAvailBytes != nil {
		soon = append(soon, "the kubelet evicts pods below "+field.Size(*f.EvictionAvailBytes))
	}
	if f.SecondsToFull != nil {
		soon = append(soon, "it is full in "+secondsText(f.SecondsToFull))
	}
	if len(soon) > 0 {
		s += ": " + strings.Join(soon, ", ")
	}
	return s
}

// fastest is the producer that writes most per second.
func fastest(u disk.Usage) (most producer, ok bool) {
	for _, p := range u.Producers {
		if rate(p) > rate(most) {
			most, ok = p, true
		}
	}
	return most, ok
}

func stalledCollector(in Input, t *Trouble, reason string) {
	t.Kind, t.State = KindCollectorStalled, Critical
	none := "nothing: nodetune restarts no collector"
	u := in.Snapshot.Disk.Value
	switch reason {
	case disk.ReasonStalled:
		for _, r := range u.Readers { // the one with the most unread first
			if r.StalledSince != nil {
				t.Cause = fmt.Sprintf("%s, with %s unread", readerName(r.Comm, r.PID, r.Who), field.Size(r.LagBytes))
				t.Next, t.Then = in.restart(r.Who, r.PID)
				break
			}
		}
	case condition.EventsUnread:
		t.Next, t.Then = in.nodetune("top --once"), "column EVENTS: restart the collector whose queue is full"
	default:
		t.Next, t.Then = in.nodetune("disk"), "lists the logs without a reader: restart the collector that should read them"
	}
	t.did(in, "", none)
}

func stalledSince(in Input) *time.Time {
	var first *time.Time
	for _, r := range in.Snapshot.Disk.Value.Readers {
		if r.StalledSince != nil && (first == nil || r.StalledSince.Before(*first)) {
			first = r.StalledSince
		}
	}
	return first
}

func readerName(comm string, pid int, w workload.Workload) string {
	return processName(&inotify.Process{Comm: comm, PID: pid, Namespace: w.Namespace, Pod: w.Pod, Container: w.Container, Unit: w.Unit})
}

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

// paused is a pause while every limit is in force: it may have been forgotten.
func paused(in Input) []Trouble {
	r, ok := sysctlResult(in)
	if !ok || r.Paused == "" || len(r.Unsatisfied()) > 0 {
		return nil
	}
	t := Trouble{
		Kind: KindPaused, State: Warning, Summary: "nodetune is paused: every limit is in force, and none is raised or held",
		Cause: r.Paused + " exists", DidNot: "nothing: it is paused", Next: resume(r.Paused), Then: "lets nodetune write again",
	}
	for _, a := range in.Acts {
		if a.Kind == reporter.ActPause {
			t.Since = &a.At
			break
		}
	}
	return []Trouble{t}
}

// failedPasses are passes that failed, or that have not ended for too long.
func failedPasses(in Input) []Trouble {
	var all []Trouble
	for _, p := range passes(in.Snapshot) {
		t := Trouble{State: Unknown, DidNot: "nothing: what is not seen is not acted upon"}
		switch {
		case p.At == nil:
			continue
		case p.Error != "":
			t.Kind, t.Summary = KindPassFailed, fmt.Sprintf("%s could not be read: %s", p.Name, p.Error)
		case in.StaleAfter > 0 && in.Now.Sub(*p.At) > in.StaleAfter:
			t.Kind, t.Since, t.Summary = KindPassStale, p.At, fmt.Sprintf("no pass over %s has ended for %s: its figures below are old", p.Name, text.HumanDuration(in.Now.Sub(*p.At)))
		default:
			continue
		}
		t.Next, t.Then = in.nodetune("check --verbose"), "looks again, and shows what fails"
		all = append(all, t)
	}
	return all
}
