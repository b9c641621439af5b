package filesystem

import (
	"fmt"
	"slices"
	"time"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// setEviction writes into f below which figures a kubelet with these thresholds
// (evictionHard, evictionSoft) evicts. Where images lie on the kubelet's own disk
// both signals watch it, and the higher one is met first. A soft threshold evicts
// as well, after its grace period.
func setEviction(f *Filesystem, thresholds ...map[string]string) {
	for _, role := range f.Roles {
		avail, inodes := hostconfig.SignalNodefsAvailable, hostconfig.SignalNodefsInodesFree
		switch role {
		case RoleKubelet:
		case RoleRuntime:
			avail, inodes = hostconfig.SignalImagefsAvailable, hostconfig.SignalImagefsInodesFree
		default:
			continue
		}
		for _, values := range thresholds {
			if n, ok := hostconfig.ParseThreshold(values[avail], f.SizeBytes); ok && (f.EvictionAvailBytes == nil || n > *f.EvictionAvailBytes) {
				f.EvictionAvailBytes, f.EvictionSignal = &n, avail
			}
			if n, ok := hostconfig.ParseThreshold(values[inodes], f.Inodes); ok && f.Inodes > 0 && (f.EvictionInodesFree == nil || n > *f.EvictionInodesFree) {
				f.EvictionInodesFree = &n
			}
		}
	}
}

// AboveEviction is how many points of space above the kubelet's own threshold
// pressure begins: after it, pods are evicted and the taint stays for at least
// five minutes.
const AboveEviction = 5

// Within reports whether seconds is known and shorter than horizon.
func Within(seconds *float64, horizon time.Duration) bool {
	return seconds != nil && *seconds < horizon.Seconds()
}

// PressurePolicy says when a filesystem that holds logs is short of space.
type PressurePolicy struct {
	AvailPercent        float64        `json:"availPercent"`        // act below
	RecoverAvailPercent float64        `json:"recoverAvailPercent"` // enough again above
	InodesPercent       float64        `json:"inodesPercent"`
	Horizon             field.Duration `json:"horizon"` // or when the kubelet would evict within
}

// Goal is how much of a filesystem is to be available.
type Goal struct {
	AvailBytes uint64 `json:"avail_bytes"`
	InodesFree uint64 `json:"inodes_free"`
	Critical   bool   `json:"critical"`
	Reason     string `json:"reason"`
}

// Met reports whether f is where g wants it.
func (g Goal) Met(f Filesystem) bool {
	return f.AvailBytes >= g.AvailBytes && (f.Inodes == 0 || f.InodesFree >= g.InodesFree)
}

// LogPath returns the first of the log directories that lies on f, or else a
// directory below one of them that does, as the mount point /var/log/pods, or "".
func (f Filesystem) LogPath(logPaths []string) string {
	for _, p := range logPaths {
		if slices.Contains(f.Paths, p) {
			return p
		}
	}
	for _, p := range f.Paths {
		if slices.ContainsFunc(logPaths, func(top string) bool { _, ok := hostfs.Below(p, top); return ok }) {
			return p
		}
	}
	return ""
}

// PercentOf is so many percent of n.
func PercentOf(n uint64, percent float64) uint64 { return uint64(float64(n) * percent / 100) }

// Room between the kubelet's threshold and ours, in points of the size: it looks
// every ten seconds, and its taint stays for five minutes.
const (
	actAbove      = 5
	criticalAbove = 2
	restAbove     = 5 // from where acting begins to where it ends
)

// lowBytes is below how many bytes available f is short of space.
func (p PressurePolicy) lowBytes(f Filesystem) uint64 {
	low := PercentOf(f.SizeBytes, p.AvailPercent)
	if f.EvictionAvailBytes != nil {
		low = max(low, *f.EvictionAvailBytes+PercentOf(f.SizeBytes, actAbove))
	}
	return low
}

// Short reports whether f is short of space now, not only soon.
func (p PressurePolicy) Short(f Filesystem) bool {
	return f.AvailBytes < p.lowBytes(f) || f.Inodes > 0 && f.InodesFree < PercentOf(f.Inodes, p.InodesPercent)
}

// LeftBytes returns how many bytes can be written to f until it is short of space.
func (p PressurePolicy) LeftBytes(f Filesystem) uint64 {
	return f.AvailBytes - min(f.AvailBytes, p.lowBytes(f))
}

// Goal says whether f is so short that space must be reclaimed, and until when.
// acting says that this has begun already: it ends higher than it begins.
func (p PressurePolicy) Goal(f Filesystem, acting bool) (Goal, bool) {
	if !f.Measured() || f.State == StateReadOnly || f.SizeBytes == 0 {
		return Goal{}, false
	}
	low := p.lowBytes(f)
	critical := low / 2 // where no kubelet says it
	if f.EvictionAvailBytes != nil {
		critical = *f.EvictionAvailBytes + PercentOf(f.SizeBytes, criticalAbove)
	}
	inodes := PercentOf(f.Inodes, p.InodesPercent)
	g := Goal{
		AvailBytes: max(PercentOf(f.SizeBytes, p.RecoverAvailPercent), low+PercentOf(f.SizeBytes, restAbove)),
		InodesFree: inodes + PercentOf(f.Inodes, restAbove),
		Critical:   f.AvailBytes < critical,
	}
	evicts, _ := f.Soon(p.Horizon.D())
	switch {
	case f.AvailBytes < low:
		g.Reason = fmt.Sprintf("%s has %s available, less than %s", f.Path, field.Size(f.AvailBytes), field.Size(low))
	case f.Inodes > 0 && f.InodesFree < inodes:
		g.Reason = fmt.Sprintf("%s has %d inodes free, less than %d", f.Path, f.InodesFree, inodes)
	case evicts:
		g.Reason = fmt.Sprintf("the kubelet would evict for %s within %v", f.Path, p.Horizon)
	case acting && !g.Met(f):
		g.Reason = fmt.Sprintf("%s has %s available, not yet %s", f.Path, field.Size(f.AvailBytes), field.Size(g.AvailBytes))
	default:
		return Goal{}, false
	}
	return g, true
}
