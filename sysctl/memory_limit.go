package sysctl

import (
	"fmt"
	"math"

	"github.com/nodetune/nodetune/internal/kernelmem"
)

// defaultWatchShare is the share of memory that the floor of watches may cost
// for one account, where the configuration names none. It is the share up to
// which nodetune raises the limit on its own.
const defaultWatchShare = 25

// defaultQueueShare is the share of memory that the queued events of all
// instances of one account may cost at the floors of a profile. Of the two floors
// the one of the queue gives way: a queue that is full costs its reader a rescan,
// an instance that is refused ends a program.
const defaultQueueShare = 25

// MemoryShares bound what floors may cost, in percent of the machine's memory
// for one account; 0: no bound.
type MemoryShares struct {
	WatchesPercent float64
	// QueuesPercent bounds the queued events of all instances together.
	QueuesPercent float64
}

// LimitToMemory returns rules with the floors and ceilings that the memory of m
// pays for. A floor is never limited to less than the kernel's own default. It is
// pure.
func LimitToMemory(rules []Rule, m Machine, s MemoryShares) []Rule {
	limited := make([]Rule, len(rules))
	for i, r := range rules {
		switch r.Key {
		case MaxUserWatches, UserMaxWatches:
			r.limit(m.units(s.WatchesPercent, kernelmem.WatchBytes), safeDefault(r.Key, m), "watches", m, s.WatchesPercent)
		case MaxQueuedEvents:
			// Two factors below 2^31 and 2^9 stay below 2^63.
			perEvent := int64(instanceLimit(rules)) * kernelmem.QueuedEventBytes
			r.limit(m.units(s.QueuesPercent, perEvent), safeDefault(r.Key, m), "the queued events of all instances", m, s.QueuesPercent)
		}
		limited[i] = r
	}
	return limited
}

// units returns how many units of that size a share of memory pays for.
func (m Machine) units(percent float64, unitBytes int64) Value {
	if percent <= 0 {
		return Unknown
	}
	return Value(float64(m.MemoryBytes) * percent / 100 / float64(unitBytes))
}

// limit lowers the floor and the ceiling of r to what memory pays for, most, but
// not below least.
func (r *Rule) limit(most, least Value, of string, m Machine, percent float64) {
	if r.Op != AtLeast || !most.Known() {
		return
	}
	most = max(most, least)
	if r.Want > most {
		r.Why = fmt.Sprintf("limited from %s: %s may cost one user %v%% of this machine's %s", r.Want, of, percent, bytesText(m.MemoryBytes))
		r.Want = most
	}
	if r.Ceiling.Known() {
		r.Ceiling = max(min(r.Ceiling, most), r.Want)
	}
}

// instanceLimit returns how many instances an account may have at the floors.
func instanceLimit(rules []Rule) Value {
	most, _, _ := KernelDefault(MaxUserInstances, Machine{})
	for _, r := range rules {
		if r.Key == MaxUserInstances || r.Key == UserMaxInstances {
			most = max(most, r.Want)
		}
	}
	return min(most, math.MaxInt32)
}

// WorstCase is the kernel memory that the limits in force let one account pin.
type WorstCase struct {
	WatchBytes  int64 // all its watches, of different container files
	QueueBytes  int64 // all queues full of events with the longest name
	MemoryBytes int64 // of the machine
}

// WorstCaseOf returns what the values that were read allow, and false where one
// of them is not known.
func WorstCaseOf(got []Reading, m Machine) (WorstCase, bool) {
	values := make(map[Key]Value, len(got))
	for _, r := range got {
		if r.Err == nil {
			values[r.Key] = r.Value
		}
	}
	watches, okW := values[MaxUserWatches]
	instances, okI := values[MaxUserInstances]
	events, okE := values[MaxQueuedEvents]
	if !okW || !okI || !okE {
		return WorstCase{}, false
	}
	return WorstCase{
		WatchBytes:  product(int64(watches), kernelmem.WatchBytes),
		QueueBytes:  product(product(int64(instances), int64(events)), kernelmem.QueuedEventBytes),
		MemoryBytes: m.MemoryBytes,
	}, true
}

// product saturates.
func product(a, b int64) int64 {
	if a > 0 && b > math.MaxInt64/a {
		return math.MaxInt64
	}
	return a * b
}

// String is the line of check.
func (w WorstCase) String() string {
	return fmt.Sprintf("the limits in force let one user pin %s with watches and %s with full queues, of %s of memory; each further user as much again, unless the memory limits of their cgroups are lower",
		bytesText(w.WatchBytes), bytesText(w.QueueBytes), bytesText(w.MemoryBytes))
}
