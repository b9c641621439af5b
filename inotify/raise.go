package inotify

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Floor is what a sysctl should at least be, from what was measured.
type Floor struct {
	Key     string `json:"key"`
	AtLeast int64  `json:"at_least"`
	Reason  string `json:"reason"`
	// HeldBack says why it is not more, where use would ask for more.
	HeldBack string `json:"held_back,omitempty"`
}

// The sysctls that follow use.
const (
	KeyInstances = "fs.inotify.max_user_instances"
	KeyWatches   = "fs.inotify.max_user_watches"
)

// MaxWatches returns how many watches one account may have before they can pin
// more than the policy's share of the memory, at [WatchBytes] each.
func (p Policy) MaxWatches(memoryBytes int64) int64 {
	n := p.WatchMemoryPercent / 100 * float64(memoryBytes) / WatchBytes
	return int64(min(n, math.MaxInt32)) // the kernel keeps it in an int
}

// Floors returns the floors that leave the fullest account the policy's
// headroom: with 90 instances in use and RaisePercent 70, 129. The caller keeps a
// floor that is above them.
func Floors(u Usage, p Policy) []Floor {
	var floors []Floor
	for _, r := range limited(u, p) {
		if r.fullest == nil || r.used == 0 {
			continue
		}
		f := Floor{
			Key: r.key, AtLeast: p.FloorFor(r.used),
			Reason: fmt.Sprintf("uid %d uses %d, and at most %g %% are to be in use", r.fullest.UID, r.used, p.RaisePercent),
		}
		f.capFloor(r, p, 0)
		if f.AtLeast > 0 {
			floors = append(floors, f)
		}
	}
	return floors
}

// FloorFor returns the limit of which used is RaisePercent.
func (p Policy) FloorFor(used int64) int64 {
	return int64(math.Ceil(float64(used) * 100 / p.RaisePercent))
}

// Raise returns the limits to raise now, each by one step: where RaisePercent
// are in use, or where forecasts say that the limit is reached within the
// horizon. A step doubles the limit, and goes on until less than RaisePercent
// are in use, and will be after [SurgeWithin]; it ends at the ceiling that the memory or the policy sets. A
// limit that should be raised and is not comes back unchanged with the reason.
func Raise(u Usage, forecasts []Forecast, p Policy) []Floor {
	var raised []Floor
	for _, r := range limited(u, p) {
		if r.fullest == nil || r.now < 1 {
			continue
		}
		percent, grown := r.now.Percent(r.used), int64(0)
		f := Floor{Key: r.key, AtLeast: int64(r.now)}
		soon := slices.IndexFunc(forecasts, func(f Forecast) bool {
			return f.Resource == r.resource && f.Owner != nil && *f.Owner == r.fullest.Owner && f.In <= p.Horizon.D()
		})
		if soon >= 0 {
			grown = int64(min(forecasts[soon].PerHour*SurgeWithin.Hours(), math.MaxInt32))
		}
		switch {
		case percent >= p.RaisePercent:
			f.Reason = fmt.Sprintf("uid %d uses %d of %d", r.fullest.UID, r.used, r.now)
		case soon >= 0:
			f.Reason = fmt.Sprintf("uid %d uses %d of %d and reaches the limit in %s", r.fullest.UID, r.used, r.now, forecasts[soon].In.Round(time.Millisecond))
		default:
			continue
		}
		for f.AtLeast *= 2; Limit(f.AtLeast).Percent(r.used+grown) >= p.RaisePercent; f.AtLeast *= 2 {
		}
		f.capFloor(r, p, int64(r.now))
		raised = append(raised, f)
	}
	return raised
}

// capFloor bounds a floor, never below least.
func (f *Floor) capFloor(r limitedResource, p Policy, least int64) {
	switch {
	case r.leak != nil:
		f.AtLeast = least
		f.HeldBack = fmt.Sprintf("process %d holds %d instances, which is taken for a leak (leakInstances %d): more would be leaked too", r.leak.PID, r.leak.Instances, p.LeakInstances)
	case f.AtLeast > r.ceiling:
		f.AtLeast = max(least, r.ceiling)
		f.HeldBack = r.why
	}
}

// limitedResource is one sysctl with the account that uses most of it.
type limitedResource struct {
	resource Resource
	key      string
	now      Limit
	fullest  *Account
	used     int64
	ceiling  int64
	why      string
	leak     *Process
}

func limited(u Usage, p Policy) []limitedResource {
	instances := limitedResource{
		resource: Instances, key: KeyInstances, now: u.Limits.Instances, ceiling: p.MaxInstances,
		why: fmt.Sprintf("maxInstances is %d", p.MaxInstances),
	}
	watches := limitedResource{
		resource: Watches, key: KeyWatches, now: u.Limits.Watches, ceiling: p.MaxWatches(u.Limits.MemoryBytes),
		why: fmt.Sprintf("watches may pin %g %% of the memory, at %d bytes each", p.WatchMemoryPercent, WatchBytes),
	}
	for i := range u.Accounts {
		// Only those that the limit applies to: the account of a user
		// namespace below has a limit of its own.
		a := &u.Accounts[i]
		if a.InstancesLimit == u.Limits.Instances && a.InstancesQuality != Unknown && (instances.fullest == nil || a.Instances > instances.used) {
			instances.fullest, instances.used = a, a.Instances
		}
		if a.WatchesLimit == u.Limits.Watches && a.WatchesQuality != Unknown && (watches.fullest == nil || a.Watches > watches.used) {
			watches.fullest, watches.used = a, a.Watches
		}
	}
	for i := range u.Processes {
		if u.Processes[i].Instances >= p.LeakInstances {
			instances.leak = &u.Processes[i]
			break
		}
	}
	return []limitedResource{instances, watches}
}
