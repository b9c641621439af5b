package sysctl

import (
	"fmt"
	"maps"
	"time"
)

// Conflicts is what the agent remembers from pass to pass about writers that
// undo what it holds. It is a value: no method changes its receiver. Times must
// come from one clock; where they carry a monotonic reading, a wall clock that
// jumps changes nothing.
type Conflicts map[Key]Conflict

// Conflict is the dispute over one key.
type Conflict struct {
	// Reverts are the times within the last conflictWindow at which a pass found
	// the key no longer as the pass before had left it, oldest first.
	Reverts []time.Time
	// Theirs is what the other writer wrote last.
	Theirs Value
	// Left is what the last pass left in the key.
	Left Value
	// Wait is until when the key is not written again.
	Wait time.Time
}

const (
	// conflictAfter reverts within conflictWindow make a key contested. Once is a
	// package script that restarted systemd-sysctl, twice a roll-out with an init
	// container; a cron job or a configuration tool that runs every half hour is
	// mended each time and never held back.
	conflictAfter  = 3
	conflictWindow = time.Hour

	// The wait doubles with each revert beyond, so that two writers who will not
	// yield end up at some six writes an hour instead of one in every pass.
	conflictMinWait = time.Minute
	conflictMaxWait = 15 * time.Minute

	// conflictKept bounds the memory of one dispute: a pass every 30 s sees at
	// most 120 reverts in an hour.
	conflictKept = 128
)

// Active reports whether the key is contested.
func (c Conflict) Active() bool { return len(c.Reverts) >= conflictAfter }

func (c Conflict) String() string {
	return fmt.Sprintf("another writer set it to %s, %d times within the last %v", c.Theirs, len(c.Reverts), conflictWindow)
}

// Deferred returns the keys that are not to be written at now, and why.
func (c Conflicts) Deferred(now time.Time) map[Key]string {
	wait := make(map[Key]string)
	for k, conflict := range c {
		// A clock without a monotonic reading that was set back must not turn a
		// minute into a year.
		if left := conflict.Wait.Sub(now); left > 0 && left <= conflictMaxWait {
			wait[k] = fmt.Sprintf("contested: written again in %v", left.Round(time.Second))
		}
	}
	return wait
}

// Observe returns what is to be remembered after the pass that saw o and ended
// at now. The status of a key that is contested becomes Contested, with the
// evidence that why knows about the other writer.
func (c Conflicts) Observe(o *PassResult, now time.Time, why func(Rule) string) Conflicts {
	next := maps.Clone(c)
	if next == nil {
		next = make(Conflicts, len(o.Rules))
	}
	for i := range o.Rules {
		s := &o.Rules[i]
		if s.Op == Report || !s.Before.Known() {
			continue
		}
		conflict, known := next[s.Key]
		if !known {
			conflict.Left = s.Before // nobody's yet, so that nothing was undone
		}
		conflict = conflict.after(*s, now)
		next[s.Key] = conflict
		if conflict.Active() && (s.Outcome == InForce || s.Outcome == Drifted) {
			s.contested(conflict, why(s.Rule))
		}
	}
	return next
}

func (c Conflict) after(s Status, now time.Time) Conflict {
	var recent []time.Time
	for _, t := range c.Reverts {
		if age := now.Sub(t); age >= 0 && age < conflictWindow {
			recent = append(recent, t)
		}
	}
	c.Reverts = recent
	undone := s.Before < c.Left || s.Op != AtLeast && s.Before != c.Left
	if undone && !s.SatisfiedBy(s.Before) {
		c.Reverts = append(c.Reverts[max(0, len(c.Reverts)-conflictKept+1):], now)
		c.Theirs = s.Before
	}
	if c.Active() && s.Changed {
		c.Wait = now.Add(c.wait())
	}
	c.Left = s.Value
	return c
}

func (c Conflict) wait() time.Duration {
	wait := conflictMinWait
	for range len(c.Reverts) - conflictAfter {
		if wait *= 2; wait >= conflictMaxWait {
			return conflictMaxWait
		}
	}
	return wait
}

func (s *Status) contested(c Conflict, evidence string) {
	s.Outcome = Contested
	standing := "in force at this moment"
	if !s.SatisfiedBy(s.Value) {
		standing = s.Reason
	}
	s.Reason = c.String()
	if evidence != "" {
		s.Reason += "; " + evidence
	}
	s.Reason += "; " + standing
}
