package page

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/text"
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
