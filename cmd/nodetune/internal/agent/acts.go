package agent

import (
	"fmt"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/sysctl"
)

// reclaimAct is space that was freed on the filesystem of top.
func reclaimAct(top string, goal filesystem.Goal, got reclaim.Result) reporter.Act {
	what := fmt.Sprintf("%s: freed %s in %d acts, %s available now", top, field.Size(got.Freed), len(got.Acts), field.Size(got.Filesystem.AvailBytes))
	if !got.Met {
		what += ", which is not enough"
	}
	return reporter.Act{Kind: reporter.ActReclaim, On: top, What: what, Why: goal.Reason}
}

// heldBackAct is a limit that should be raised and is not.
func heldBackAct(f inotify.Floor) reporter.Act {
	return reporter.Act{
		Kind: reporter.ActRaise, On: f.Key, Failed: true,
		What: fmt.Sprintf("%s stays at %d, although %s", f.Key, f.AtLeast, f.Reason), Why: f.HeldBack,
	}
}

// nofileAct is a limit of descriptors that was raised to is, or could not be.
func nofileAct(r inotify.NOFILERaise, is inotify.Limit, err error) reporter.Act {
	on := fmt.Sprintf("%s[%d]", r.Comm, r.PID)
	if err != nil {
		return reporter.Act{Kind: reporter.ActRaiseNOFILE, On: on, Failed: true, What: "RLIMIT_NOFILE of " + on + " stays as it is", Why: err.Error()}
	}
	return reporter.Act{
		Kind: reporter.ActRaiseNOFILE, On: on, What: fmt.Sprintf("RLIMIT_NOFILE of %s: %d → %d", on, r.From, is),
		Why: fmt.Sprintf("it has %d descriptors open", r.Used),
	}
}

// holdAct is a write that the guard did not let take effect.
func holdAct(w sysctl.ObservedWrite) reporter.Act {
	return reporter.Act{
		At: w.Last, Kind: reporter.ActHold, On: string(w.Key), What: fmt.Sprintf("%s stays at %s", w.Key, w.Effective),
		Why: fmt.Sprintf("%s wrote %s", w.Writer(), w.To),
	}
}

// conditionAct is a condition that changed.
func conditionAct(c condition.Transition) reporter.Act {
	return reporter.Act{
		At: c.To.LastTransitionTime.Time, Kind: reporter.ActCondition, On: string(c.To.Type),
		What: fmt.Sprintf("%s is %s (%s)", c.To.Type, c.To.Status, c.To.Reason), Why: c.To.Message,
	}
}
