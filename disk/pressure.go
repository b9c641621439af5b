package disk

import (
	"fmt"
	"strings"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// assessPressure judges the filesystems that hold logs: the worst of them speaks.
func assessPressure(u Usage, p filesystem.PressurePolicy) Assessment {
	worst := Assessment{Clear, ReasonSpace, "every filesystem with logs has space"}
	var short filesystem.Filesystem
	for _, f := range u.Filesystems {
		if !carriesLogs(f) {
			continue
		}
		if a := assessFilesystem(f, p); a.Severity > worst.Severity {
			worst, short = a, f
		}
	}
	if worst.Severity != Clear && worst.Reason != ReasonUnusable {
		worst.Message += u.logsOn(short)
	}
	return worst
}

func carriesLogs(f filesystem.Filesystem) bool {
	for _, r := range f.Roles {
		if r == filesystem.RoleLogs || r == filesystem.RoleJournal {
			return true
		}
	}
	return false
}

// assessFilesystem judges one filesystem.
func assessFilesystem(f filesystem.Filesystem, p filesystem.PressurePolicy) Assessment {
	switch f.State {
	case filesystem.StateHung, filesystem.StateShutDown, filesystem.StateFailed:
		return Assessment{Bad, ReasonUnusable, fmt.Sprintf("%s is %s%s: nothing can be logged there", f.Path, strings.ReplaceAll(string(f.State), "_", " "), because(f.Error))}
	}
	if f.SizeBytes == 0 {
		return Assessment{Severity: Clear}
	}
	act, recovered := p.AvailPercent, p.RecoverAvailPercent
	if f.EvictionAvailBytes != nil {
		hard := filesystem.Percent(*f.EvictionAvailBytes, f.SizeBytes)
		act = max(act, hard+filesystem.AboveEviction)
		recovered = max(recovered, act+filesystem.AboveEviction)
	}
	evicts, full := f.Soon(p.Horizon.D())
	evictsLater, fullLater := f.Soon(2 * p.Horizon.D()) // bursts move the prediction
	switch avail := f.AvailPercent(); {
	case avail < act:
		return Assessment{Bad, ReasonSpaceLow, fmt.Sprintf("%s has %.1f%% available, wanted %.0f%%", f.Path, avail, act)}
	case f.InodesFreePercent() < p.InodesPercent:
		return Assessment{Bad, ReasonInodesLow, fmt.Sprintf("%s has %.1f%% of its inodes free, wanted %.0f%%", f.Path, f.InodesFreePercent(), p.InodesPercent)}
	case evicts:
		return Assessment{Bad, ReasonEvictionSoon, fmt.Sprintf("%s has %.1f%% available and the kubelet evicts within %v", f.Path, avail, p.Horizon)}
	case full:
		return Assessment{Bad, ReasonFullSoon, fmt.Sprintf("%s has %.1f%% available and is full within %v", f.Path, avail, p.Horizon)}
	case evictsLater || fullLater:
		return Assessment{Between, ReasonSpace, fmt.Sprintf("%s has %.1f%% available, which lasts for more than %v", f.Path, avail, p.Horizon)}
	case avail < recovered:
		return Assessment{Between, ReasonSpace, fmt.Sprintf("%s has %.1f%% available, enough again at %.0f%%", f.Path, avail, recovered)}
	}
	return Assessment{Severity: Clear}
}

func because(err string) string {
	if err == "" {
		return ""
	}
	return " (" + err + ")"
}

// logsOn says what logs hold on f, and names the largest producer. Where they hold
// less than a tenth of what is in use, they are not where to look.
func (u Usage) logsOn(f filesystem.Filesystem) string {
	best, logs := logs.Producer{}, uint64(0)
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
		return fmt.Sprintf("; logs hold only %s of the %s in use", field.Size(logs), field.Size(used))
	}
	return fmt.Sprintf("; logs hold %s, most of it %s with %s", field.Size(logs), producerName(best), field.Size(best.Bytes))
}

// on returns the device of the filesystem that path lies on.
func (u Usage) on(path string) string {
	device, length := "", -1
	for _, f := range u.Filesystems {
		for _, p := range append([]string{f.Path}, f.Paths...) {
			if _, ok := hostfs.Below(path, p); ok && len(p) > length {
				device, length = f.Device, len(p)
			}
		}
	}
	return device
}

// producerName is how people know p: namespace/pod:container, unit or path.
func producerName(p logs.Producer) string {
	switch {
	case p.Pod != "":
		return p.Namespace + "/" + p.Pod + ":" + p.Container
	case p.Unit != "":
		return p.Unit
	}
	return p.Path
}
