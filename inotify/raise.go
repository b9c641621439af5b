package inotify

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/nodetune/nodetune/internal/kernelmem"
)

// Floor is what a sysctl should at least be, from what was measured.
type Floor struct {
	Key     string `json:"key"`
	AtLeast int64  `json:"at_least"`
	Reason  string `json:"reason"`
	// HeldBack is why it is not more, although use asks for more.
	HeldBack string `json:"held_back,omitempty"`
}

// The sysctls that follow use.
const (
	KeyInstances = "fs.inotify.max_user_instances"
	KeyWatches   = "fs.inotify.max_user_watches"
)

// MaxWatches returns how many watches one account may have before they can pin
// more than the policy's share of the memory, at [kernelmem.WatchBytes] each.
func (p Policy) MaxWatches(memoryBytes int64) int64 {
	n := p.WatchMemoryPercent / 100 * float64(memoryBytes) / kernelmem.WatchBytes
	return int64(min(n, math.MaxInt32)) // the kernel keeps it in an int
}

// Floors returns the floors that leave the fullest account the policy's
// headroom: with 90 instances in use and RaisePercent 70, 129. The caller keeps a
// floor that is above them.
func Floors(u Usage, p Policy) []Floor {
	var floors []Floor
	for _, r := range limited(u, p, func(a *Account) *Process { return leakOf(&u, a, p) }) {
		if r.fullest == nil || r.used == 0 {
			continue
		}
		f := Floor{
			Key: r.key, AtLeast: p.FloorFor(r.used),
			Reason: fmt.Sprintf("uid %d uses %d, and at most %g %% are to be in use", r.fullest.UID, r.used, p.RaisePercent),
		}
		f.capFloor(r, 0)
		floors = append(floors, f)
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
	return raise(u, forecasts, p, func(a *Account) *Process { return leakOf(&u, a, p) })
}

// raise is [Raise] with leak, which returns the process of an account that is
// taken for a leak. An account that leaks asks for nothing, and keeps nothing
// from others.
func raise(u Usage, forecasts []Forecast, p Policy, leak func(*Account) *Process) []Floor {
	var raised []Floor
	for _, r := range limited(u, p, leak) {
		if r.now < 1 {
			continue
		}
		if f, ok := r.step(forecasts, p); ok {
			raised = append(raised, f)
		} else if l := r.leaking; l != nil && r.now.Percent(l.Instances) >= p.RaisePercent {
			raised = append(raised, Floor{
				Key: r.key, AtLeast: int64(r.now),
				Reason:   fmt.Sprintf("uid %d uses %d of %d", l.UID, l.Instances, r.now),
				HeldBack: r.leakReason(p),
			})
		}
	}
	return raised
}

// step is what the fullest account that does not leak asks for.
func (r *limitedResource) step(forecasts []Forecast, p Policy) (f Floor, ok bool) {
	if r.fullest == nil {
		return f, false
	}
	percent, grown := r.now.Percent(r.used), int64(0)
	f = Floor{Key: r.key, AtLeast: int64(r.now)}
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
		return f, false
	}
	for f.AtLeast *= 2; Limit(f.AtLeast).Percent(r.used+grown) >= p.RaisePercent; f.AtLeast *= 2 {
	}
	f.capFloor(r, int64(r.now))
	return f, true
}

// capFloor bounds a floor by the ceiling, never below least.
func (f *Floor) capFloor(r *limitedResource, least int64) {
	if f.AtLeast > r.ceiling {
		f.AtLeast, f.HeldBack = max(least, r.ceiling), r.why
	}
}

// limitedResource is one sysctl with the account that uses most of it.
type limitedResource struct {
	resource Resource
	key      string
	now      Limit
	fullest  *Account // of those that do not leak
	used     int64    // by fullest
	ceiling  int64
	why      string
	leaking  *Account // the fullest of those that leak
	leak     *Process
}

func (r *limitedResource) leakReason(p Policy) string {
	return fmt.Sprintf("process %d holds %d instances, which is taken for a leak (leakInstances %d): more would be leaked too", r.leak.PID, r.leak.Instances, p.LeakInstances)
}

// leakOf returns the process of a that holds so many instances that it is taken
// for a leak, or nil.
func leakOf(u *Usage, a *Account, p Policy) *Process {
	for i := range u.Processes {
		q := &u.Processes[i]
		if q.Instances >= p.LeakInstances && (Owner{UserNS: q.UserNS, UID: q.UID} == a.Owner || q.PID == a.TopPID) {
			return q
		}
	}
	return nil
}

func limited(u Usage, p Policy, leak func(*Account) *Process) []*limitedResource {
	instances := &limitedResource{
		resource: Instances, key: KeyInstances, now: u.Limits.Instances, ceiling: p.MaxInstances,
		why: fmt.Sprintf("maxInstances is %d", p.MaxInstances),
	}
	watches := &limitedResource{
		resource: Watches, key: KeyWatches, now: u.Limits.Watches, ceiling: p.MaxWatches(u.Limits.MemoryBytes),
		why: fmt.Sprintf("watches may pin %g %% of the memory, at %d bytes each", p.WatchMemoryPercent, kernelmem.WatchBytes),
	}
	for i := range u.Accounts {
		// Only those that the limit applies to: the account of a user
		// namespace below has a limit of its own.
		a := &u.Accounts[i]
		if a.Level == 0 && a.InstancesLimit == u.Limits.Instances && a.InstancesQuality != Unknown {
			if l := leak(a); l != nil {
				if instances.leaking == nil || a.Instances > instances.leaking.Instances {
					instances.leaking, instances.leak = a, l
				}
			} else if instances.fullest == nil || a.Instances > instances.used {
				instances.fullest, instances.used = a, a.Instances
			}
		}
		if a.Level == 0 && a.WatchesLimit == u.Limits.Watches && a.WatchesQuality != Unknown && (watches.fullest == nil || a.Watches > watches.used) {
			watches.fullest, watches.used = a, a.Watches
		}
	}
	return []*limitedResource{instances, watches}
}
