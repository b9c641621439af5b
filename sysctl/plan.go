package sysctl

import (
	"errors"
	"io/fs"
	"slices"
)

// Plan compares each rule with the reading of its key. It returns the status of
// each rule and the changes in the order in which to write them. It is pure.
// A value that needs a change is Drifted until it was written and read back.
func Plan(rules []Rule, got []Reading) ([]Status, []Change) {
	byKey := make(map[Key]Reading, len(got))
	for _, r := range got {
		byKey[r.Key] = r
	}
	status := make([]Status, 0, len(rules))
	var changes []Change
	for _, rule := range rules {
		r, ok := byKey[rule.Key]
		if !ok {
			r = Reading{Key: rule.Key, Value: Unknown, Err: errNotRead}
		}
		s := evaluate(rule, r)
		status = append(status, s)
		if s.Outcome == Drifted {
			changes = append(changes, Change{Key: rule.Key, From: r.Value, To: rule.Want})
		}
	}
	return status, ordered(changes)
}

var errNotRead = errors.New("was not read in this pass")

// evaluate returns the status of rule for reading r.
func evaluate(rule Rule, r Reading) Status {
	s := Status{Rule: rule, Value: r.Value, Before: r.Value, Outcome: InForce, Err: r.Err}
	switch {
	case errors.Is(r.Err, fs.ErrNotExist):
		s.Outcome, s.Reason = Absent, "this kernel has no such key; nothing to do"
	case r.Err != nil:
		s.Outcome, s.Reason = Failed, r.Err.Error()
	case rule.Op == Report:
		s.Reason = rule.Why
	case !rule.SatisfiedBy(r.Value):
		s.Outcome, s.Reason = Drifted, impact(rule.Key, r.Value)
	}
	return s
}

// SatisfiedBy reports whether the value v satisfies r.
func (r Rule) SatisfiedBy(v Value) bool {
	switch r.Op {
	case AtLeast:
		return v >= r.Want
	case Exactly, Restore:
		return v == r.Want
	}
	return true
}

// ordered sorts a key that bounds another key first when values rise and last
// when they fall: fs.file-max, the node's open files, before fs.nr_open, those of
// one process, so that one process may never take all of the node's.
func ordered(changes []Change) []Change {
	rank := func(c Change) int {
		switch {
		case c.Key == FileMax && c.To >= c.From, c.Key == NrOpen && c.To < c.From:
			return 0
		case c.Key == NrOpen && c.To >= c.From, c.Key == FileMax && c.To < c.From:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return rank(a) - rank(b) })
	return changes
}
