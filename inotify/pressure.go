package inotify

import (
	"cmp"
	"slices"
)

// Resource is something the kernel refuses when it is used up.
type Resource string

// What is accounted for, and the errno of the refusal.
const (
	Instances Resource = "inotify_instances" // EMFILE, per account
	Watches   Resource = "inotify_watches"   // ENOSPC, per account
	NOFILE    Resource = "nofile"            // EMFILE, per process
	OpenFiles Resource = "open_files"        // ENFILE, of the node
)

// LimitPressure is a limit that is used for at least ClearPercent.
type LimitPressure struct {
	Resource Resource `json:"resource"`
	// Owner is set for what is charged to an account, Level of which is how many
	// user namespaces are above it.
	Owner   *Owner  `json:"owner,omitempty"`
	Level   int     `json:"level,omitempty"`
	Used    int64   `json:"used"`
	Limit   Limit   `json:"limit"`
	Percent float64 `json:"percent"`
	Quality Quality `json:"quality"`
	// Pressure: it is used for at least PressurePercent.
	Pressure bool `json:"pressure"`
	// Top holds most of it, or is the process whose limit it is. It is nil
	// where no holder is known.
	Top *Process `json:"top,omitempty"`
}

// Pressure returns what is used for at least t.ClearPercent of its limit, the
// fullest first. With hysteresis, use LimitPressure.Pressure to
// enter and the absence of a finding to leave.
func Pressure(u Usage, t Policy) []LimitPressure {
	found := []LimitPressure{}
	add := func(f LimitPressure, top int) {
		f.Percent = f.Limit.Percent(f.Used)
		if f.Quality == Unknown || f.Percent < t.ClearPercent {
			return
		}
		f.Pressure = f.Percent >= t.PressurePercent
		if p, ok := u.Process(top); ok {
			f.Top = &p
		}
		found = append(found, f)
	}
	for _, a := range u.Accounts {
		owner := a.Owner
		add(LimitPressure{Resource: Instances, Owner: &owner, Level: a.Level, Used: a.Instances, Limit: a.InstancesLimit, Quality: a.InstancesQuality}, a.TopPID)
		add(LimitPressure{Resource: Watches, Owner: &owner, Level: a.Level, Used: a.Watches, Limit: a.WatchesLimit, Quality: a.WatchesQuality}, a.TopWatchesPID)
	}
	var most Process
	for _, p := range u.Processes {
		add(LimitPressure{Resource: NOFILE, Used: p.FDs, Limit: p.NOFILESoft, Quality: Exact}, p.PID)
		if p.FDs > most.FDs {
			most = p
		}
	}
	add(LimitPressure{Resource: OpenFiles, Used: u.Limits.OpenFiles, Limit: u.Limits.FileMax, Quality: Exact}, most.PID)
	slices.SortStableFunc(found, func(a, b LimitPressure) int { return cmp.Compare(b.Percent, a.Percent) })
	return found
}

// OfNode reports whether the limit is one of the node's, and not one that a
// process has set for its own user namespace.
func (f *LimitPressure) OfNode() bool { return f.Level == 0 }

// Pressed reports whether a limit of the node is under pressure.
func (u *Usage) Pressed() bool {
	return slices.ContainsFunc(u.Findings, func(f LimitPressure) bool { return f.Pressure && f.OfNode() })
}
