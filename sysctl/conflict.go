package sysctl

import (
	"fmt"
	"maps"
	"time"
)

// Conflicts records, from pass to pass, which other programs revert the agent's
// values. It is immutable: no method changes its receiver. All times must come
// from one clock. With monotonic readings, a wall clock that jumps has no effect.
type Conflicts map[Key]Conflict

// Conflict is the history of reverts of one key.
type Conflict struct {
	// Reverts are the times within the last conflictWindow at which a pass found
	// the key no longer as the pass before had left it, oldest first.
	Reverts []time.Time
	// Theirs is the value that the other program wrote last.
	Theirs Value
	// Left is the value after the last pass.
	Left Value
	// Wait is the time before which the key is not written again.
	Wait time.Time
}

const (
	// conflictAfter reverts within conflictWindow make a key contested. Once is a
	// package script that restarted systemd-sysctl, twice a roll-out with an init
	// container; a cron job or a configuration tool that runs every half hour is
	// corrected each time and never delayed.
	conflictAfter  = 3
	conflictWindow = time.Hour

	// The wait doubles with each further revert. Two programs that keep
	// overwriting each other end up at some six writes an hour, not one a pass.
	conflictMinWait = time.Minute
	conflictMaxWait = 15 * time.Minute

	// conflictKept bounds the memory for one key: a pass every 30 s sees at
	// most 120 reverts in an hour.
	conflictKept = 128
)

// Active reports whether the key is contested.
func (c Conflict) Active() bool { return len(c.Reverts) >= conflictAfter }

func (c Conflict) String() string {
	return fmt.Sprintf("another program set it to %s, %d times within the last %v", c.Theirs, len(c.Reverts), conflictWindow)
}

// Deferred returns the keys that must not be written at now, each with the
// reason.
func (c Conflicts) Deferred(now time.Time) map[Key]string {
	wait := make(map[Key]string)
	for k, conflict := range c {
		// A wall clock that was set back must not turn a minute into a year.
		if left := conflict.Wait.Sub(now); left > 0 && left <= conflictMaxWait {
			wait[k] = fmt.Sprintf("contested: written again in %v", left.Round(time.Second))
		}
	}
	return wait
}

// Observe returns the updated record after the pass that produced o and ended
// at now. The status of a contested key becomes Contested, with the evidence
// that why returns about the other program.
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
			conflict.Left = s.Before // no value was written yet, so none was reverted
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
