package disk

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Level says how bad something is, with room between bad and good so that an
// alarm does not flap.
type Level int

// The levels of an alarm.
const (
	Clear   Level = iota // good, also for ending an alarm
	Between              // neither begins nor ends one
	Bad
)

var levels = []string{"clear", "between", "bad"}

// MarshalText writes clear, between or bad.
func (l Level) MarshalText() ([]byte, error) { return []byte(levels[l]), nil }

// UnmarshalText reads what MarshalText writes.
func (l *Level) UnmarshalText(b []byte) error {
	i := slices.Index(levels, string(b))
	if i < 0 {
		return fmt.Errorf("%q is not a level: want one of %v", b, levels)
	}
	*l = Level(i)
	return nil
}

// Alarm is one judgement of a pass.
type Alarm struct {
	Level   Level  `json:"level"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Reasons of an Alarm, in CamelCase for conditions of a Node.
const (
	ReasonSpace        = "LogDiskSpaceEnough"
	ReasonSpaceLow     = "LogDiskSpaceLow"
	ReasonInodesLow    = "LogDiskInodesLow"
	ReasonEvictionSoon = "EvictionSoon"
	ReasonFullSoon     = "LogDiskFullSoon"
	ReasonUnusable     = "LogDiskUnusable"
	ReasonReading      = "CollectorsReading"
	ReasonStalled      = "CollectorStalled"
	ReasonUnfollowed   = "LogsUnfollowed"
)

// pressure judges the filesystems that hold logs: the worst of them speaks.
func pressure(u Usage, p PressurePolicy) Alarm {
	worst := Alarm{Clear, ReasonSpace, "every filesystem with logs has space"}
	var short Filesystem
	for _, f := range u.Filesystems {
		if !f.carriesLogs() {
			continue
		}
		if a := f.pressure(p); a.Level > worst.Level {
			worst, short = a, f
		}
	}
	if worst.Level != Clear && worst.Reason != ReasonUnusable {
		worst.Message += u.logsOn(short)
	}
	return worst
}

func (f Filesystem) carriesLogs() bool {
	for _, r := range f.Roles {
		if r == RoleLogs || r == RoleJournal {
			return true
		}
	}
	return false
}

// aboveEviction is how many points of space above the kubelet's own threshold
// pressure begins: after it, pods are evicted and the taint stays for at least
// five minutes.
const aboveEviction = 5

// pressure judges one filesystem.
func (f Filesystem) pressure(p PressurePolicy) Alarm {
	switch f.State {
	case StateHung, StateShutDown, StateFailed:
		return Alarm{Bad, ReasonUnusable, fmt.Sprintf("%s is %s%s: nothing can be logged there", f.Path, strings.ReplaceAll(string(f.State), "_", " "), because(f.Error))}
	}
	if f.SizeBytes == 0 {
		return Alarm{Level: Clear}
	}
	act, recovered := p.AvailPercent, p.RecoverAvailPercent
	if f.EvictionAvailBytes != nil {
		hard := percent(*f.EvictionAvailBytes, f.SizeBytes)
		act = max(act, hard+aboveEviction)
		recovered = max(recovered, act+aboveEviction)
	}
	switch avail := f.AvailPercent(); {
	case avail < act:
		return Alarm{Bad, ReasonSpaceLow, fmt.Sprintf("%s has %.1f%% available, wanted %.0f%%", f.Path, avail, act)}
	case f.InodesFreePercent() < p.InodesPercent:
		return Alarm{Bad, ReasonInodesLow, fmt.Sprintf("%s has %.1f%% of its inodes free, wanted %.0f%%", f.Path, f.InodesFreePercent(), p.InodesPercent)}
	case soon(f.SecondsToEviction, p.Horizon.D()):
		return Alarm{Bad, ReasonEvictionSoon, fmt.Sprintf("%s has %.1f%% available and the kubelet evicts within %v", f.Path, avail, p.Horizon)}
	case soon(f.SecondsToFull, p.Horizon.D()):
		return Alarm{Bad, ReasonFullSoon, fmt.Sprintf("%s has %.1f%% available and is full within %v", f.Path, avail, p.Horizon)}
	case avail < recovered:
		return Alarm{Between, ReasonSpace, fmt.Sprintf("%s has %.1f%% available, enough again at %.0f%%", f.Path, avail, recovered)}
	}
	return Alarm{Level: Clear}
}

func because(err string) string {
	if err == "" {
		return ""
	}
	return " (" + err + ")"
}

func soon(seconds *float64, horizon time.Duration) bool {
	return seconds != nil && *seconds < horizon.Seconds()
}

// logsOn says what logs hold on f, and names the largest producer. Where they hold
// less than a tenth of what is in use, they are not where to look.
func (u Usage) logsOn(f Filesystem) string {
	best, logs := Producer{}, uint64(0)
	for _, p := range u.Producers {
		if u.on(p.Path) != f.Device {
			continue
		}
		logs += p.Bytes
		if p.Bytes > best.Bytes {
			best = p
		}
	}
	free := min(f.SizeBytes, f.AvailBytes+f.ReservedBytes)
	switch used := f.SizeBytes - free; {
	case best.Bytes == 0:
		return ""
	case logs < used/10:
		return fmt.Sprintf("; logs hold only %s of the %s in use", Size(logs), Size(used))
	}
	return fmt.Sprintf("; logs hold %s, most of it %s with %s", Size(logs), best.name(), Size(best.Bytes))
}

// on returns the device of the filesystem that path lies on.
func (u Usage) on(path string) string {
	device, length := "", -1
	for _, f := range u.Filesystems {
		for _, p := range append([]string{f.Path}, f.Paths...) {
			if _, ok := within(path, p); ok && len(p) > length {
				device, length = f.Device, len(p)
			}
		}
	}
	return device
}

// name is how people know p: namespace/pod:container, unit or path.
func (p Producer) name() string {
	switch {
	case p.Pod != "":
		return p.Namespace + "/" + p.Pod + ":" + p.Container
	case p.Unit != "":
		return p.Unit
	}
	return p.Path
}

// Size writes n for people, with three significant digits.
func Size(n uint64) string {
	v, unit := float64(n), 0
	for v >= 1000 && unit < 6 {
		v /= 1024
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	digits := 0
	if v < 10 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %ciB", digits, v, "KMGTPE"[unit-1])
}

// reading judges the readers: one that stands still while its file grows, or a
// container's log that grows while nobody follows it. The second counts only on
// a node where somebody has followed some container's log: without a collector
// there is nothing to be stalled.
func reading(u Usage, p ReadersPolicy, collected bool, now time.Time) Alarm {
	var stalled []Reader
	for _, r := range u.Readers {
		if r.StalledSince != nil {
			stalled = append(stalled, r)
		}
	}
	if len(stalled) > 0 {
		r := stalled[0] // the one with the most unread: readers are sorted
		return Alarm{Bad, ReasonStalled, fmt.Sprintf("%s stands still with %s unread of %s%s; %s",
			r.collector(), Size(r.LagBytes), r.logName(), others(len(stalled)-1, "logs"), r.Cure())}
	}
	var alone []Unfollowed
	young := false
	for _, x := range u.Unfollowed {
		switch {
		case x.GrewBytes == 0 || x.Since == nil || p.leavesOut(x.Namespace, x.Pod):
		case now.Sub(*x.Since) >= p.UnfollowedAfter.D():
			alone = append(alone, x)
		default:
			young = true
		}
	}
	switch {
	case len(alone) > 0 && collected:
		x := alone[0]
		return Alarm{Bad, ReasonUnfollowed, fmt.Sprintf("nobody follows the log of %s/%s:%s, which grew by %s%s; a collector that was refused a watch may need a restart",
			x.Namespace, x.Pod, x.Container, Size(x.GrewBytes), others(len(alone)-1, "logs"))}
	case young && collected:
		return Alarm{Between, ReasonReading, "new logs are not followed yet"}
	}
	return Alarm{Clear, ReasonReading, "every reader moves"}
}

// leavesOut reports whether the collectors are not meant to read a pod's logs.
func (p ReadersPolicy) leavesOut(namespace, pod string) bool {
	for _, pattern := range p.Uncollected {
		if ok, err := path.Match(pattern, namespace+"/"+pod); ok && err == nil {
			return true
		}
	}
	return false
}

func others(n int, what string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more %s", n, what)
}

func (r Reader) collector() string {
	if r.Who.Pod != "" {
		return r.Who.Namespace + "/" + r.Who.Pod
	}
	if r.Who.Unit != "" {
		return r.Who.Unit
	}
	return fmt.Sprintf("%q (pid %d)", r.Comm, r.PID)
}

// Cure says what helps a reader that stands still. What it was refused it does
// not get by a higher limit: most programs never ask again.
func (r Reader) Cure() string {
	if !r.Watched {
		return "it has no inotify watch there, and does not wake when more are allowed: restart it"
	}
	return "restart it"
}

func (r Reader) logName() string {
	if r.Log.Pod != "" {
		return r.Log.Namespace + "/" + r.Log.Pod + ":" + r.Log.Container
	}
	return fmt.Sprintf("%q", r.Path)
}
