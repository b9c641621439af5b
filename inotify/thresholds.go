package inotify

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// SurgeWithin is how far ahead is looked between two passes: as long as it may
// take a busy node to notice growth again and to raise once more.
const SurgeWithin = 250 * time.Millisecond

// Surge returns the limits that are reached within SurgeWithin if accounts go
// on taking as much as they did between two looks, the nearest first. Accounts
// of user namespaces are left out: what limits them is charged above as well.
func Surge(was, is []AccountUsage, took time.Duration) []Forecast {
	if took <= 0 {
		return nil
	}
	var found []Forecast
	add := func(r Resource, o Owner, was, is int64, limit Limit) {
		f := Forecast{Resource: r, Owner: &o, Used: is, Limit: limit, PerHour: float64(is-was) / took.Hours()}
		if limit < 0 || f.PerHour <= 0 {
			return
		}
		hours := max(0, float64(int64(limit)-is)/f.PerHour)
		if hours <= SurgeWithin.Hours() {
			f.In = time.Duration(hours * float64(time.Hour))
			found = append(found, f)
		}
	}
	for _, b := range is {
		i := slices.IndexFunc(was, func(a AccountUsage) bool { return a.Owner == b.Owner })
		if i < 0 || b.Level > 0 {
			continue
		}
		add(Instances, b.Owner, was[i].Instances, b.Instances, b.InstancesLimit)
		add(Watches, b.Owner, was[i].Watches, b.Watches, b.WatchesLimit)
	}
	slices.SortStableFunc(found, func(a, b Forecast) int { return cmp.Compare(a.In, b.In) })
	return found
}

// RaiseBetween is [Raise] between two passes: the use of accounts is of now, the
// holders are of the last pass. An account may have taken so much since that one
// of its processes could be a leak by now. Then nothing is raised for it, and
// unsure is true, since only a pass can decide. Limits that do not change are
// left out.
func RaiseBetween(last Usage, now []AccountUsage, forecasts []Forecast, p Policy) (floors []Floor, unsure bool) {
	suspects := map[Owner]*Process{}
	for _, a := range now {
		if a.Level > 0 {
			continue
		}
		most := Process{}
		was := int64(0)
		for i := range last.Accounts {
			if last.Accounts[i].Owner == a.Owner {
				was = last.Accounts[i].Instances
				most, _ = last.Process(last.Accounts[i].TopPID)
			}
		}
		for _, q := range last.Processes {
			if q.Instances > most.Instances && (Owner{UserNS: q.UserNS, UID: q.UID}) == a.Owner {
				most = q
			}
		}
		if most.Instances+a.Instances-was >= p.LeakInstances {
			suspects[a.Owner], unsure = &most, true
		}
		last.Limits.Instances, last.Limits.Watches = a.InstancesLimit, a.WatchesLimit
	}
	last.UseAccounts(now)
	for _, f := range raise(last, forecasts, p, func(a *Account) *Process { return suspects[a.Owner] }) {
		now := last.Limits.Watches
		if f.Key == KeyInstances {
			now = last.Limits.Instances
		}
		if f.AtLeast > int64(now) {
			floors = append(floors, f)
		}
	}
	return floors, unsure
}

// Threshold is what an account uses when it is worth another check.
type Threshold struct {
	UID                uint32 // of the initial user namespace
	Instances, Watches int64
}

// Thresholds are those of all accounts: one each for the fullest, and one for
// all others.
type Thresholds struct {
	Fullest [8]Threshold
	N       int // of Fullest
	Others  Threshold
}

// NextThresholds returns the levels at which accounts will have taken an eighth of
// what they have left now, or had left at a peak, or raisePercent of their limit.
// Limits are of who has no account yet: a node may have none at all.
func NextThresholds(now, peaks []AccountUsage, limits Limits, raisePercent float64) Thresholds {
	// How full an account is, of what it uses most of.
	full := func(c AccountUsage) float64 {
		return max(c.InstancesLimit.Percent(c.Instances), c.WatchesLimit.Percent(c.Watches))
	}
	var all []AccountUsage
	others := AccountUsage{InstancesLimit: limits.Instances, WatchesLimit: limits.Watches}
	for _, c := range now {
		if c.Level > 0 {
			continue
		}
		all = append(all, c)
		others.InstancesLimit, others.WatchesLimit = c.InstancesLimit, c.WatchesLimit
	}
	for _, p := range peaks {
		i := slices.IndexFunc(all, func(c AccountUsage) bool { return c.Owner == p.Owner })
		if i < 0 {
			i, all = len(all), append(all, others)
			all[i].Owner = p.Owner
		}
		all[i].Instances, all[i].Watches = max(all[i].Instances, p.Instances), max(all[i].Watches, p.Watches)
	}
	slices.SortFunc(all, func(a, b AccountUsage) int { return cmp.Compare(full(b), full(a)) })
	level := func(c AccountUsage) Threshold {
		return Threshold{
			UID:       c.UID,
			Instances: nextThreshold(c.Instances, c.InstancesLimit, raisePercent),
			Watches:   nextThreshold(c.Watches, c.WatchesLimit, raisePercent),
		}
	}
	var l Thresholds
	for i, c := range all {
		if i < len(l.Fullest) {
			l.Fullest[i], l.N = level(c), i+1
		} else {
			others.Instances, others.Watches = max(others.Instances, c.Instances), max(others.Watches, c.Watches)
		}
	}
	l.Others = level(others)
	return l
}

// minSurge is what anybody may take at once: where little is left it is not
// worth a look at every instance.
const minSurge = 16

func nextThreshold(used int64, limit Limit, raisePercent float64) int64 {
	if limit < 0 {
		return math.MaxInt64
	}
	left := max(1, int64(limit)-used)
	at := used + max(left/8, min(left, minSurge))
	if raise := int64(math.Ceil(float64(limit) * raisePercent / 100)); used < raise {
		at = min(at, raise)
	}
	return at
}
