package sysctl

import (
	"strings"
	"testing"
	"time"
)

// fight is the agent's passes against a variable that stands for the kernel's.
type fight struct {
	t        *testing.T
	rule     Rule
	kernel   Value
	contests Conflicts
	writes   int
}

// pass is one round at now, as Pass.Run does it.
func (f *fight) pass(now time.Time) Status {
	f.t.Helper()
	status, changes := Plan([]Rule{f.rule}, []Reading{{Key: f.rule.Key, Value: f.kernel}})
	for _, c := range changes {
		if _, wait := f.contests.Deferred(now)[c.Key]; wait {
			continue
		}
		f.writes++
		f.kernel = c.To
		after := evaluate(f.rule, Reading{Key: c.Key, Value: f.kernel})
		after.Before, after.Changed = c.From, true
		status[0] = after
	}
	o := PassResult{Rules: status}
	f.contests = f.contests.Observe(&o, now, func(Rule) string { return "sysctl.d/99-other.conf:3 says 128" })
	return o.Rules[0]
}

func newFight(t *testing.T) *fight {
	return &fight{t: t, rule: Rule{Key: MaxUserInstances, Op: AtLeast, Want: 8192, Ceiling: Unknown}, kernel: 128}
}

// Two programs that keep overwriting each other: the key is contested after the third revert, is
// still enforced, and the writes slow down to four an hour.
func TestTwoFightingWriters(t *testing.T) {
	f := newFight(t)
	now := time.Now()
	start := now
	if s := f.pass(now); s.Outcome != InForce || !s.Changed {
		t.Fatalf("the first pass: %+v", s)
	}
	var contestedAfter time.Duration
	hour := make(map[int]int) // writes in each hour
	for now.Sub(start) < 6*time.Hour {
		f.kernel = 128 // the other one
		now = now.Add(30 * time.Second)
		before := f.writes
		s := f.pass(now)
		hour[int(now.Sub(start)/time.Hour)] += f.writes - before
		if s.Outcome == Contested && contestedAfter == 0 {
			contestedAfter = now.Sub(start)
			if !strings.Contains(s.Reason, "set it to 128, 3 times") || !strings.Contains(s.Reason, "99-other.conf:3") {
				t.Errorf("the reason lacks the evidence: %s", s.Reason)
			}
		}
		if contestedAfter > 0 && s.Outcome != Contested {
			t.Fatalf("at %v of an unending fight the key is %s", now.Sub(start), s.Outcome)
		}
	}
	if contestedAfter != 90*time.Second {
		t.Errorf("contested after %v, want 90s: the third revert", contestedAfter)
	}
	if hour[5] < 4 || hour[5] > 8 {
		t.Errorf("%d writes in the sixth hour, want about six: still enforced, with back-off (%v)", hour[5], hour)
	}
}

func TestADisputeEndsByItself(t *testing.T) {
	f := newFight(t)
	now := time.Now()
	f.pass(now)
	for range 5 {
		f.kernel = 128
		now = now.Add(5 * time.Minute)
		f.pass(now)
	}
	if !f.contests[f.rule.Key].Active() {
		t.Fatal("five reverts in 25 minutes are no conflict")
	}
	now = now.Add(conflictMaxWait)
	if s := f.pass(now); s.Outcome != Contested || f.kernel != 8192 {
		t.Errorf("after the wait: %s at %d, want still contested, and enforced", s.Outcome, f.kernel)
	}
	now = now.Add(conflictWindow)
	if s := f.pass(now); s.Outcome != InForce {
		t.Errorf("an hour after the last revert: %s (%s)", s.Outcome, s.Reason)
	}
}

func TestWhatIsNoRevert(t *testing.T) {
	f := newFight(t)
	now := time.Now()
	f.pass(now)
	for i, change := range []func(){
		func() { f.kernel = 100_000 },                      // another program raises it
		func() { f.kernel = 50_000 },                       // and lowers it, above the floor
		func() { f.rule.Want = 60_000 },                    // we want more than before
		func() { f.rule.Want = 8192 },                      // and less again
		func() {},                                          // nothing
		func() { f.rule.Want = 70_000; f.kernel = 65_000 }, // another program raises it, not enough for us
	} {
		change()
		now = now.Add(time.Minute)
		f.pass(now)
		if n := len(f.contests[f.rule.Key].Reverts); n != 0 {
			t.Fatalf("step %d counts as %d reverts", i, n)
		}
	}
}

// A wall clock that is set back by a year, without a monotonic reading to hold
// on to, defers nothing for a year and forgets nothing it must keep counting.
func TestContestWithAJumpingClock(t *testing.T) {
	f := newFight(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	f.pass(now)
	for range 4 {
		f.kernel = 128
		now = now.Add(conflictMaxWait)
		f.pass(now)
	}
	f.kernel = 128
	now = now.AddDate(-1, 0, 0)
	f.pass(now)
	if f.kernel != 8192 {
		t.Error("the key waits for a time that is a year away")
	}
}

func TestObserveLeavesItsReceiverAlone(t *testing.T) {
	was := Conflicts{MaxUserInstances: {Left: 8192}}
	o := PassResult{Rules: []Status{{Rule: Rule{Key: MaxUserInstances, Op: AtLeast, Want: 8192}, Before: 128, Value: 128}}}
	next := was.Observe(&o, time.Now(), func(Rule) string { return "" })
	if len(was[MaxUserInstances].Reverts) != 0 || len(next[MaxUserInstances].Reverts) != 1 {
		t.Errorf("was %+v, next %+v", was, next)
	}
}
