package sysctl

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func lowered(k Key, at time.Time) ObservedWrite {
	return ObservedWrite{Key: k, First: at, Last: at, Count: 1, From: 8192, To: 128, Effective: 128, BelowFloor: true, Process: "tuned[812]", PID: 812, Unit: "tuned.service"}
}

func TestLoweredBy(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k := MaxUserInstances
	with := func(w ObservedWrite, change func(*ObservedWrite)) ObservedWrite { change(&w); return w }
	ago := func(d time.Duration) ObservedWrite { return lowered(k, now.Add(-d)) }
	pod := func(w *ObservedWrite) {
		w.Process, w.PID, w.Unit, w.Namespace, w.Pod, w.Container = "sysctl[9]", 9, "", "logs", "fluent", "init"
	}
	for name, tt := range map[string]struct {
		writes []ObservedWrite
		want   string
	}{
		"none":              {nil, ""},
		"once":              {[]ObservedWrite{ago(time.Minute)}, "lowered once in the last hour by tuned[812] of tuned.service"},
		"three times":       {[]ObservedWrite{ago(50 * time.Minute), ago(20 * time.Minute), ago(time.Second)}, "lowered 3 times in the last hour by tuned[812] of tuned.service"},
		"an hour ago":       {[]ObservedWrite{ago(time.Hour)}, ""},
		"a count":           {[]ObservedWrite{with(ago(0), func(w *ObservedWrite) { w.Count = 70 })}, "lowered 70 times in the last hour by tuned[812] of tuned.service"},
		"raised":            {[]ObservedWrite{with(ago(0), func(w *ObservedWrite) { w.To, w.BelowFloor = 9000, false })}, ""},
		"another key":       {[]ObservedWrite{with(ago(0), func(w *ObservedWrite) { w.Key = FileMax })}, ""},
		"its other name":    {[]ObservedWrite{with(ago(0), func(w *ObservedWrite) { w.Key = UserMaxInstances })}, "lowered once in the last hour by tuned[812] of tuned.service"},
		"the pid differs":   {[]ObservedWrite{ago(9 * time.Minute), with(ago(0), func(w *ObservedWrite) { w.PID, w.Process = 7, "tuned[7]" })}, "lowered 2 times in the last hour by tuned[7] of tuned.service"},
		"two":               {[]ObservedWrite{with(ago(time.Minute), pod), ago(0)}, "lowered 2 times in the last hour by tuned[812] of tuned.service and sysctl[9] of pod logs/fluent, container init"},
		"no owner":          {[]ObservedWrite{with(ago(0), func(w *ObservedWrite) { w.Unit = "" })}, "lowered once in the last hour by tuned[812]"},
		"held":              {[]ObservedWrite{with(ago(0), func(w *ObservedWrite) { w.Held = true })}, "lowered once in the last hour by tuned[812] of tuned.service; the guard held the floor"},
		"held once":         {[]ObservedWrite{with(ago(2*time.Minute), func(w *ObservedWrite) { w.Held = true }), ago(0)}, "lowered 2 times in the last hour by tuned[812] of tuned.service; the guard held the floor against 1 of these writes"},
		"below, not lowest": {[]ObservedWrite{with(ago(0), func(w *ObservedWrite) { w.From = 100 })}, "lowered once in the last hour by tuned[812] of tuned.service"},
	} {
		t.Run(name, func(t *testing.T) {
			var all ObservedWrites
			for _, w := range tt.writes {
				all.Add(w)
			}
			if got := all.LoweredBy(k, now); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// A writer that changes its name, its pid or its values with each write fills no
// memory, and keeps the writes of others.
func TestObservedWritesAreBounded(t *testing.T) {
	now := time.Now()
	var all ObservedWrites
	other := lowered(MaxUserInstances, now)
	other.Unit = "other.service"
	if !all.Add(other) {
		t.Error("the first write of a unit is not fresh")
	}
	fresh := 0
	for i := range 100_000 {
		w := lowered(MaxUserInstances, now.Add(time.Duration(i)*time.Millisecond))
		w.Process, w.PID, w.To = fmt.Sprintf("x%d[%d]", i, i), i, Value(i%100)
		if all.Add(w) {
			fresh++
		}
	}
	if fresh != 2 || len(all) != 3 || all[0].Unit != "other.service" {
		t.Errorf("100,000 writes in 100 s are %d entries, %d of them fresh: %+v", len(all), fresh, all[:min(len(all), 5)])
	}
	for i := range 10_000 {
		w := lowered(Key(fmt.Sprintf("user.max_%d", i%64)), now)
		w.Unit = fmt.Sprintf("run-u%d.service", i)
		all.Add(w)
	}
	if len(all) > writesKept {
		t.Errorf("%d entries are kept", len(all))
	}
	n := 0
	for i := range 1000 {
		w := lowered(FileMax, now)
		w.Unit = fmt.Sprintf("run-u%d.service", i)
		all.Add(w)
	}
	for _, w := range all {
		if w.Key == FileMax {
			n++
		}
	}
	if n > writesKeptOfKey {
		t.Errorf("%d entries of one key are kept", n)
	}
}

// The first three raises of a key in ten minutes are made at once, then the key is
// contested and waits; another key is not delayed by it.
func TestNoWar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		raises := ImmediateRaises{}
		f := newFight(t)
		f.pass(time.Now())
		immediate := 0
		start := time.Now()
		var at []time.Duration
		for time.Since(start) < time.Hour { // it lowers the key again ten milliseconds later
			time.Sleep(10 * time.Millisecond)
			if f.kernel >= f.rule.Want {
				f.kernel = 128
				if raises.Allow(f.rule.Key, time.Now()) {
					immediate++
					writes := f.writes
					f.pass(time.Now())
					if f.writes > writes {
						at = append(at, time.Since(start))
					}
				}
			}
			if time.Since(start)%(30*time.Second) == 0 {
				f.pass(time.Now())
			}
		}
		if len(at) < 3 || at[2] > 30*time.Millisecond {
			t.Errorf("raised at once after %v, want three times within 30 ms", at)
		}
		if s := f.pass(time.Now()); s.Outcome != Contested {
			t.Errorf("after an hour of it the key is %s", s.Outcome)
		}
		// One at the start, three at once, and the back-off of contested keys: after 1,
		// 2, 4, 8, 15 minutes and so on.
		if f.writes < 6 || f.writes > 10 {
			t.Errorf("%d writes in an hour (%d asked for at once)", f.writes, immediate)
		}
		if !raises.Allow(FileMax, time.Now()) {
			t.Error("another key waits, too")
		}
		time.Sleep(immediateWindow)
		if !raises.Allow(f.rule.Key, time.Now()) {
			t.Error("ten minutes later it is not raised at once")
		}
	})
}

func TestGuardModeJSON(t *testing.T) {
	for in, want := range map[string]GuardMode{
		`"off"`: GuardOff, `false`: GuardOff, `"observe"`: GuardObserve, `"hold"`: GuardHold,
		`true`: "!", `""`: "!", `"Hold"`: "!", `"on"`: "!", `1`: "!", `null`: "!", ``: "!", `["hold"]`: "!",
	} {
		m := GuardMode("before")
		err := m.UnmarshalJSON([]byte(in))
		if want == "!" {
			if err == nil || m != "before" {
				t.Errorf("%s is read as %q, %v", in, m, err)
			}
		} else if err != nil || m != want {
			t.Errorf("%s is read as %q, %v", in, m, err)
		}
	}
}

func TestGuardFloors(t *testing.T) {
	got := GuardFloors([]Rule{
		{Key: MaxUserInstances, Op: AtLeast, Want: 8192},
		{Key: FileMax, Op: Exactly, Want: 500},
		{Key: NrOpen, Op: Report, Want: Unknown},
	})
	if len(got) != 2 || got[MaxUserInstances] != 8192 || got[FileMax] != 0 {
		t.Errorf("got %v", got)
	}
	// What use calls for is no floor of the configuration.
	p := Policy{Rules: []PolicyRule{{Key: string(MaxUserInstances), AtLeast: new(Value(8192))}}}
	rules := p.For(Machine{MemoryBytes: 1 << 33})
	if raised := WithNeeds(rules, []Need{{Key: MaxUserInstances, AtLeast: 20000}}); raised[0].Want != 20000 || GuardFloors(rules)[MaxUserInstances] != 8192 {
		t.Errorf("got %v beside %v", rules, raised)
	}
}

func TestGuardState(t *testing.T) {
	s := NewStore(t.TempDir())
	if g, err := s.GuardState(); err != nil || g.Mode != "" {
		t.Errorf("without a file: %+v, %v", g, err)
	}
	now := time.Now().Round(0)
	w := lowered(MaxUserInstances, now)
	w.From = Unknown
	want := GuardState{Mode: GuardObserve, Reason: "paused", ProgramID: 7, Writes: ObservedWrites{w}}
	if err := s.PutGuardState(want); err != nil {
		t.Fatal(err)
	}
	got, err := s.GuardState()
	if err != nil || got.Mode != want.Mode || got.ProgramID != 7 || len(got.Writes) != 1 || got.Writes[0].From != Unknown || !got.Writes[0].First.Equal(now) {
		t.Errorf("got %+v, %v", got, err)
	}
	// As large as it gets.
	want.Writes = nil
	for i := range 4 * writesKept {
		w := lowered(Key(fmt.Sprintf("user.max_%063d", i%9)), now)
		w.Unit, w.Process = "", fmt.Sprintf("%q[4194304]", "\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01")
		w.Namespace, w.Container, w.Pod = fmt.Sprintf("%063d", i), fmt.Sprintf("%063d", i), fmt.Sprintf("%0253d", i)
		want.Writes.Add(w)
	}
	if err := s.PutGuardState(want); err != nil {
		t.Fatal(err)
	}
	if got, err := s.GuardState(); err != nil || len(got.Writes) != writesKept {
		t.Errorf("got %d writes, %v", len(got.Writes), err)
	}
}
