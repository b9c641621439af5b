package condition

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// Evaluate evaluates each condition from the last passes in s. The condition of
// a pass older than staleAfter is Unknown. t has the shares of a limit at which
// pressure begins and ends.
func Evaluate(s reporter.Snapshot, now time.Time, staleAfter time.Duration, t inotify.Policy) []Evaluation {
	var findings []inotify.LimitPressure
	if s.Inotify.Err == nil && !s.Inotify.At.IsZero() {
		findings = inotify.Pressure(s.Inotify.Value, t)
	}
	return []Evaluation{
		evaluate(FileDescriptorPressure, s.Inotify, now, staleAfter, func(u inotify.Usage) Evaluation {
			return fileDescriptorPressure(findings, u.Limits, t)
		}),
		evaluate(InotifyPressure, s.Inotify, now, staleAfter, func(u inotify.Usage) Evaluation {
			return inotifyPressure(findings, u, t)
		}),
		evaluate(LogCollectorStalled, s.Disk, now, staleAfter, func(u disk.Usage) Evaluation {
			return logCollectorStalled(u, s.Inotify, now, staleAfter, t)
		}),
		evaluate(LogDiskPressure, s.Disk, now, staleAfter, logDiskPressure),
		evaluate(SysctlDrift, s.Sysctl, now, staleAfter, func(o sysctl.PassResult) Evaluation { return sysctlDrift(o, now) }),
	}
}

// evaluate calls rate for a pass that is neither missing nor stale.
func evaluate[T any](t corev1.NodeConditionType, r reporter.Result[T], now time.Time, staleAfter time.Duration, rate func(T) Evaluation) Evaluation {
	v := Evaluation{Severity: Unevaluated}
	switch {
	case r.At.IsZero():
	case now.Sub(r.At) > staleAfter:
		v = Evaluation{Severity: Unknown, Reason: PassStale, Message: fmt.Sprintf("no pass has ended for more than %s", staleAfter)}
	case r.Err != nil:
		v = Evaluation{Severity: Unknown, Reason: PassFailed, Message: safetext.String(r.Err.Error())}
	default:
		v = rate(r.Value)
	}
	v.Type, v.At = t, r.At
	return v
}

// inotifyPressure is about the limits of the node. A limit that a process has set
// for its own user namespace is no condition of the node.
func inotifyPressure(findings []inotify.LimitPressure, u inotify.Usage, t inotify.Policy) Evaluation {
	v := Evaluation{
		Severity: Clear, Reason: SufficientInotify,
		Message: fmt.Sprintf("every account is below %g %% of its inotify limits", t.PressurePercent),
	}
	if why := inotify.Unseen(u, t); why != "" {
		v = Evaluation{Severity: Unknown, Reason: InotifyUsageUnknown, Message: "no account seen is near a limit, but not all were seen: " + safetext.String(why)}
	} else if !t.CountWatches {
		v.Message = fmt.Sprintf("every account is below %g %% of its inotify instances; watches are not counted (inotify.countWatches)", t.PressurePercent)
	}
	for _, f := range findings { // the fullest first
		if !f.OfNode() {
			continue
		}
		var noun, reason string
		switch f.Resource {
		case inotify.Instances:
			noun, reason = "inotify instances", InstancesNearLimit
		case inotify.Watches:
			noun, reason = "inotify watches", WatchesNearLimit
		default:
			continue
		}
		if f.Pressure {
			return Evaluation{Severity: Bad, Reason: reason, Message: fmt.Sprintf("uid %d uses %d of %d %s, wanted below %g %%%s",
				f.Owner.UID, f.Used, f.Limit, noun, t.PressurePercent, topConsumer(f.Top))}
		}
		if f.Percent > t.ClearPercent && v.Severity == Clear {
			v.Severity = Between
		}
	}
	return v
}

// fileDescriptorPressure is about the node's open files. A process near its own
// RLIMIT_NOFILE is no condition of the node: draining it would not help.
func fileDescriptorPressure(findings []inotify.LimitPressure, l inotify.Limits, t inotify.Policy) Evaluation {
	if l.FileMax < 0 {
		return Evaluation{Severity: Unknown, Reason: PassFailed, Message: "fs.file-max could not be read"}
	}
	if l.OpenFiles <= 0 { // no node has none open
		return Evaluation{Severity: Unknown, Reason: PassFailed, Message: "fs.file-nr could not be read"}
	}
	v := Evaluation{
		Severity: Clear, Reason: SufficientFileDescriptors,
		Message: fmt.Sprintf("below %g %% of fs.file-max are open", t.PressurePercent),
	}
	for _, f := range findings {
		if f.Resource != inotify.OpenFiles {
			continue
		}
		if f.Pressure {
			return Evaluation{Severity: Bad, Reason: OpenFilesNearLimit, Message: fmt.Sprintf("%d of %d files are open (fs.file-max), wanted below %g %%%s",
				f.Used, f.Limit, t.PressurePercent, topConsumer(f.Top))}
		}
		if f.Percent > t.ClearPercent {
			v.Severity = Between
		}
	}
	return v
}

// topConsumer names the workload that holds the most.
func topConsumer(p *inotify.Process) string {
	if p == nil {
		return ""
	}
	return "; most are held by " + processName(p)
}

// sysctlDrift names who lowered a key, where a guard saw the writes. They stand
// in the message alone: only what a pass read decides about status and reason.
func sysctlDrift(o sysctl.PassResult, now time.Time) Evaluation {
	unmet := o.Unsatisfied()
	if len(unmet) == 0 && !anyKnown(o.Rules) {
		return Evaluation{Severity: Unknown, Reason: SettingsUnknown, Message: "none of the settings exists below /proc/sys as nodetune sees it"}
	}
	if len(unmet) == 0 {
		m := "every setting is as wanted"
		if k := o.ObservedWrites.LastLowered(now); k != "" {
			m += fmt.Sprintf("; %s was %s", k, safetext.String(o.ObservedWrites.LoweredBy(k, now)))
		}
		return Evaluation{Severity: Clear, Reason: FloorsInForce, Message: m}
	}
	worst := unmet[0]
	for _, s := range unmet {
		if driftRank[s.Outcome] > driftRank[worst.Outcome] {
			worst = s
		}
	}
	reason := driftReason[worst.Outcome]
	if o.Paused != "" && worst.Outcome == sysctl.Drifted {
		reason = Paused
	}
	m := fmt.Sprintf("%s is %s, wanted %s %s", worst.Key, worst.Value, opWord(worst.Op), worst.Want)
	if n := len(unmet) - 1; n > 0 {
		m += fmt.Sprintf(" (and %d more)", n)
	}
	if by := o.ObservedWrites.LoweredBy(worst.Key, now); by != "" && !strings.Contains(worst.Reason, by) {
		m += "; " + safetext.String(by)
	}
	if worst.Reason != "" {
		m += ": " + safetext.String(worst.Reason)
	}
	return Evaluation{Severity: Bad, Reason: reason, Message: m}
}

// anyKnown reports whether one of the rules that nodetune may enforce has a
// value. One absent key is a kernel without it. If all are absent, /proc/sys is
// hidden.
func anyKnown(rules []sysctl.Status) bool {
	enforced := 0
	for _, s := range rules {
		if s.Op == sysctl.Report {
			continue
		}
		if s.Value.Known() {
			return true
		}
		enforced++
	}
	return enforced == 0
}

func opWord(op sysctl.Op) string {
	if op == sysctl.AtLeast {
		return "at least"
	}
	return "exactly"
}

// driftRank orders outcomes by how little another pass will help.
var driftRank = map[sysctl.Outcome]int{
	sysctl.Drifted: 1, sysctl.Failed: 2, sysctl.Refused: 3, sysctl.Contested: 4,
}

var driftReason = map[sysctl.Outcome]string{
	sysctl.Drifted: FloorNotHeld, sysctl.Failed: WriteFailed, sysctl.Refused: KernelRefused, sysctl.Contested: ContestedByWriter,
}
