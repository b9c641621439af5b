package sysctl

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// InUse returns the usage of k by the account that uses most, [Unknown] for a
// key whose use is not counted, and an error where counting failed.
type InUse func(k Key) (Value, error)

// PlanRestore decides for each recorded key whether the value from before
// nodetune's first change can be restored, and which values to write. It is
// pure. A value that another program wrote stays. A value is not restored below
// what is in use, since the next collector would then fail to start.
func PlanRestore(o Originals, got []Reading, inUse InUse) ([]Status, []Change) {
	rules, was := o.rules(), make(map[Key]Value, len(got))
	for _, r := range got {
		was[r.Key] = r.Value
	}
	status, changes := Plan(rules, got)
	var todo []Change
	for i := range status {
		s := &status[i]
		if s.Outcome != Drifted {
			continue
		}
		used, err := inUse(s.Key)
		switch {
		case !o.Keys[s.Key].ours(s.Value):
			s.Reason = fmt.Sprintf("left alone: nodetune wrote %s and another program has set %s since", o.Keys[s.Key].Wrote, s.Value)
		case err != nil:
			s.Outcome = Refused
			s.Reason = fmt.Sprintf("left alone: more than the old %s may be in use, which could not be counted: %v", s.Want, err)
		case used.Known() && used > s.Want:
			s.Outcome = Refused
			s.Reason = fmt.Sprintf("left alone: %s are in use, more than the old %s; what is started next would fail. Stop what uses them and restore again", used, s.Want)
		default:
			s.Reason = ""
			if i := slices.IndexFunc(changes, func(c Change) bool { return c.Key == s.Key }); i >= 0 {
				todo = append(todo, changes[i])
			}
		}
	}
	return status, ordered(todo)
}

// rules returns a rule for each recorded key, in the order of their names.
func (o Originals) rules() []Rule {
	var rules []Rule
	for _, k := range slices.Sorted(maps.Keys(o.Keys)) {
		rules = append(rules, Rule{Key: k, Op: Restore, Want: o.Keys[k].Before, Ceiling: Unknown, Why: "found before nodetune's first change"})
	}
	return rules
}

func (p Pass) refusePaused(o *PassResult) error {
	if o.Paused = p.Store.Paused(); o.Paused != "" {
		return fmt.Errorf("nodetune is paused and writes nothing: remove %s first", o.Paused)
	}
	return nil
}

// Restore puts the recorded originals back where [PlanRestore] allows it, and
// removes from the record those that are no longer nodetune's. It refuses, with a [*LockedError],
// while an agent runs: the agent would raise them again.
func (p Pass) Restore(ctx context.Context, inUse InUse) (PassResult, error) {
	var o PassResult
	if err := p.refusePaused(&o); err != nil {
		return o, err
	}
	if p.Act {
		leave, err := p.Store.AcquireAgentLock("") // no agent may start meanwhile either
		if _, held := errors.AsType[*LockedError](err); held {
			return o, fmt.Errorf("an agent would raise the values again, stop it first: %w", err)
		}
		if err != nil {
			return o, fmt.Errorf("make sure that no agent runs: %w", err)
		}
		defer leave()
		unlock, err := p.Store.Lock(ctx)
		if err != nil {
			return o, err
		}
		defer unlock()
		if err := p.refusePaused(&o); err != nil { // while it waited
			return o, err
		}
	}
	was, err := p.Store.Originals()
	if err != nil {
		return o, fmt.Errorf("read the record of originals: %w", err)
	}
	id, err := readBootID(p.Procfs)
	if err != nil {
		return o, err
	}
	if was.BootID != id {
		was = Originals{} // of another boot: the kernel has its own values again
	}
	status, changes := PlanRestore(was, p.Tree.ReadAll(was.rules()), inUse)
	o.Rules = status
	if !p.Act {
		return o, nil
	}
	for _, c := range changes {
		i := slices.IndexFunc(o.Rules, func(s Status) bool { return s.Key == c.Key })
		// Counting takes long enough for another program to set the key.
		if now := p.Tree.Read(c.Key); now.Value != c.From {
			again, _ := PlanRestore(was, []Reading{now}, inUse)
			o.Rules[i] = again[i]
			continue
		}
		p.Tree.writeAndVerify(&o.Rules[i])
	}
	var done []Key
	for _, s := range o.Rules {
		if s.Outcome == InForce || s.Outcome == Absent || s.Outcome == Drifted && !was.Keys[s.Key].ours(s.Value) {
			done = append(done, s.Key)
		}
	}
	if len(done) > 0 || len(was.Keys) == 0 {
		if err := p.Store.putOriginals(was.without(done)); err != nil {
			o.Warnings = append(o.Warnings, fmt.Sprintf("the record of originals is kept as it was: %v", err))
		}
	}
	return o, nil
}
