package disk

import (
	"fmt"
	"strings"
)

// pressure judges the filesystems that hold logs: the worst of them speaks.
func pressure(u Usage, p PressurePolicy) Alarm {
	worst := Alarm{Clear, ReasonSpace, "every filesystem with logs has space"}
	var short Filesystem
	for _, f := range u.Filesystems {
		if !carriesLogs(f) {
			continue
		}
		if a := pressureOf(f, p); a.Level > worst.Level {
			worst, short = a, f
		}
	}
	if worst.Level != Clear && worst.Reason != ReasonUnusable {
		worst.Message += u.logsOn(short)
	}
	return worst
}

func carriesLogs(f Filesystem) bool {
	for _, r := range f.Roles {
		if r == RoleLogs || r == RoleJournal {
			return true
		}
	}
	return false
}

// pressureOf judges one filesystem.
func pressureOf(f Filesystem, p PressurePolicy) Alarm {
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
	return fmt.Sprintf("; logs hold %s, most of it %s with %s", Size(logs), producerName(best), Size(best.Bytes))
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

// producerName is how people know p: namespace/pod:container, unit or path.
func producerName(p Producer) string {
	switch {
	case p.Pod != "":
		return p.Namespace + "/" + p.Pod + ":" + p.Container
	case p.Unit != "":
		return p.Unit
	}
	return p.Path
}
