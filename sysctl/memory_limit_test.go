package sysctl

import (
	"math"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/kernelmem"
)

func TestLimitToMemory(t *testing.T) {
	watches := func(want, ceiling Value) Rule {
		return Rule{Key: MaxUserWatches, Op: AtLeast, Want: want, Ceiling: ceiling, Why: "floor"}
	}
	queue := func(want Value) Rule {
		return Rule{Key: MaxQueuedEvents, Op: AtLeast, Want: want, Ceiling: 1 << 20, Why: "floor"}
	}
	instances := func(want Value) Rule {
		return Rule{Key: MaxUserInstances, Op: AtLeast, Want: want, Ceiling: Unknown}
	}
	const gib = 1 << 30
	shares := MemoryShares{WatchesPercent: 25, QueuesPercent: 10}
	for _, c := range []struct {
		name          string
		memory        int64
		shares        MemoryShares
		rules         []Rule // the first is compared
		want, ceiling Value
		limited       bool
	}{
		{"watches on 16 GiB", 16 * gib, shares, []Rule{watches(524288, 1<<20)}, 524288, 1 << 20, false},
		{"watches on 4 GiB", 4 * gib, shares, []Rule{watches(524288, 1<<22)}, 4 * gib / 4 / kernelmem.WatchBytes, 4 * gib / 4 / kernelmem.WatchBytes, true},
		{"watches on 1 GiB", gib, shares, []Rule{watches(524288, 1<<22)}, gib / 4 / kernelmem.WatchBytes, gib / 4 / kernelmem.WatchBytes, true},
		{"a floor within the share on 1 GiB", gib, shares, []Rule{watches(65536, 1<<22)}, 65536, gib / 4 / kernelmem.WatchBytes, false},
		{"never below the kernel's default", 64 << 20, MemoryShares{WatchesPercent: 0.1}, []Rule{watches(524288, Unknown)}, 8192, Unknown, true},
		{"no share", gib, MemoryShares{}, []Rule{watches(524288, 1<<22)}, 524288, 1 << 22, false},
		{"a ceiling within memory", 16 * gib, shares, []Rule{watches(524288, 600000)}, 524288, 600000, false},
		{"exactly is exactly", gib, shares, []Rule{{Key: MaxUserWatches, Op: Exactly, Want: 1 << 22, Ceiling: Unknown, Why: "floor"}}, 1 << 22, Unknown, false},
		{"reported only", gib, shares, []Rule{{Key: MaxUserWatches, Op: Report, Want: Unknown, Ceiling: Unknown, Why: "floor"}}, Unknown, Unknown, false},
		{"a queue beside 8,192 instances on 16 GiB", 16 * gib, shares, []Rule{queue(65536), instances(8192)}, 16384, 16384, true},
		{"a queue beside 8,192 instances on 2 TiB", 2048 * gib, shares, []Rule{queue(65536), instances(8192)}, 52428, 52428, true},
		{"a queue beside the kernel's 128 instances", 64 * gib, shares, []Rule{queue(65536)}, 65536, 104857, false},
		{"the largest numbers", math.MaxInt64, MemoryShares{100, 100}, []Rule{queue(math.MaxInt32), instances(math.MaxInt32)}, 8388608, 8388608, true},
	} {
		rules := append([]Rule(nil), c.rules...)
		got := LimitToMemory(rules, Machine{MemoryBytes: c.memory}, c.shares)[0]
		if got.Want != c.want || got.Ceiling != c.ceiling || (got.Why != "floor") != c.limited {
			t.Errorf("%s: %s up to %s (%q), want %s up to %s, limited: %v", c.name, got.Want, got.Ceiling, got.Why, c.want, c.ceiling, c.limited)
		}
		if rules[0] != c.rules[0] {
			t.Errorf("%s: changed its argument", c.name)
		}
	}
}

// TestFloorsFitIntoMemory: on no machine does the floor of watches of a profile
// cost more than the larger of a quarter of memory and the kernel's own default.
func TestFloorsFitIntoMemory(t *testing.T) {
	for _, name := range Profiles {
		p, err := Profile(name)
		if err != nil {
			t.Fatal(err)
		}
		for gib := int64(1); gib <= 1024; gib *= 2 {
			m := Machine{MemoryBytes: gib << 30}
			for _, r := range p.For(m) {
				if most := max(m.units(25, kernelmem.WatchBytes), safeDefault(MaxUserWatches, m)); r.Key == MaxUserWatches && (r.Want > most || r.Ceiling > most) {
					t.Errorf("%s on %d GiB: floor %s, ceiling %s, memory pays for %s", name, gib, r.Want, r.Ceiling, most)
				}
			}
		}
	}
}

// TestQueueFloorFitsIntoMemory: at the floors of no profile do full queues cost
// one user more than a quarter of memory, but where the queue has the kernel's own
// length. A rule of the configuration is the operator's number.
func TestQueueFloorFitsIntoMemory(t *testing.T) {
	queue := func(p Policy, m Machine) (r Rule, cost int64) {
		rules := p.For(m)
		for _, r := range rules {
			if r.Key == MaxQueuedEvents {
				return r, int64(instanceLimit(rules)) * int64(r.Want) * kernelmem.QueuedEventBytes
			}
		}
		return Rule{}, 0
	}
	for _, name := range Profiles {
		p, err := Profile(name)
		if err != nil {
			t.Fatal(err)
		}
		for gib := int64(1); gib <= 8192; gib *= 2 {
			m := Machine{MemoryBytes: gib << 30}
			if r, cost := queue(p, m); r.Want > 16384 && cost > m.MemoryBytes/4 {
				t.Errorf("%s on %d GiB: floor %s lets queues cost %d GiB", name, gib, r.Want, cost>>30)
			} else if r.Key != "" && r.Want < 16384 {
				t.Errorf("%s on %d GiB: floor %s is below the kernel's default", name, gib, r.Want)
			}
		}
	}
	own, ceiling := Value(65536), Value(131072)
	configured := Policy{Rules: []PolicyRule{{Key: "fs/inotify/max_queued_events", AtLeast: &own, Ceiling: &ceiling}}}
	shared := configured
	shared.QueueMemoryPercent = 25
	for _, c := range []struct {
		name          string
		over          Policy
		gib           int64
		want, ceiling Value
	}{
		{"the profile on 2 GiB", Policy{}, 2, 16384, 16384},
		{"the profile on 16 GiB", Policy{}, 16, 16384, 16384},
		{"the profile on 512 GiB", Policy{}, 512, 32768, 32768},
		{"the profile on 1 TiB", Policy{}, 1024, 65536, 65536},
		{"another share", Policy{QueueMemoryPercent: 50}, 512, 65536, 65536},
		{"a rule of the configuration", configured, 16, 65536, 131072},
		{"a rule and a share", shared, 16, 16384, 16384},
	} {
		if r, _ := queue(c.over.Over(DefaultPolicy()), Machine{MemoryBytes: c.gib << 30}); r.Want != c.want || r.Ceiling != c.ceiling {
			t.Errorf("%s: %s up to %s, want %s up to %s", c.name, r.Want, r.Ceiling, c.want, c.ceiling)
		}
	}
}

func TestFloorMemoryPercent(t *testing.T) {
	m := Machine{MemoryBytes: 1 << 30}
	want := func(p Policy) Value { return p.For(m)[1].Want }
	base := DefaultPolicy()
	if got := want(base); got != (1<<30)/4/kernelmem.WatchBytes {
		t.Errorf("by default: %s", got)
	}
	over := Policy{FloorMemoryPercent: 50}.Over(base)
	if got := want(over); got != (1<<30)/2/kernelmem.WatchBytes {
		t.Errorf("with 50%%: %s", got)
	}
	if got := want(Policy{}.Over(over)); got != (1<<30)/2/kernelmem.WatchBytes {
		t.Errorf("a policy without a share replaces the base's: %s", got)
	}
	for _, bad := range []float64{-1, 101, math.NaN(), math.Inf(1)} {
		if err := (Policy{FloorMemoryPercent: bad}).Validate(); err == nil || !strings.Contains(err.Error(), "floorMemoryPercent") {
			t.Errorf("%v: %v", bad, err)
		}
		if err := (Policy{QueueMemoryPercent: bad}).Validate(); err == nil || !strings.Contains(err.Error(), "queueMemoryPercent") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestWorstCase(t *testing.T) {
	read := func(watches, instances, events Value) []Reading {
		return []Reading{{Key: MaxUserWatches, Value: watches}, {Key: MaxUserInstances, Value: instances}, {Key: MaxQueuedEvents, Value: events}}
	}
	m := Machine{MemoryBytes: 16 << 30}
	w, ok := WorstCaseOf(read(524288, 128, 16384), m)
	if !ok || w.WatchBytes != 524288*kernelmem.WatchBytes || w.QueueBytes != 1<<30 {
		t.Errorf("got %+v", w)
	}
	if s, want := w.String(), "one user pin 1.1 GiB with watches and 1.0 GiB with full queues, of 16.0 GiB of memory"; !strings.Contains(s, want) {
		t.Errorf("%q lacks %q", s, want)
	}
	if w, _ := WorstCaseOf(read(math.MaxInt64, math.MaxInt64, 2), m); w.QueueBytes != math.MaxInt64 || w.WatchBytes != math.MaxInt64 {
		t.Errorf("no saturation: %+v", w)
	}
	unknown := read(1, 2, 3)
	unknown[1].Err = errNotRead
	if _, ok := WorstCaseOf(unknown, m); ok {
		t.Error("a limit that was not read counts as known")
	}
}
