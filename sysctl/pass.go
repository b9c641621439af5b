package sysctl

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Pass is one round over the rules. check, apply and the agent differ in Act
// and in how often they run it.
type Pass struct {
	Procfs string
	Tree   *Tree
	Store  *Store
	Rules  []Rule
	// Act says whether it may write.
	Act bool
	// Deferred are the keys that are not to be written in this pass, and why.
	Deferred map[Key]string
}

// Run observes, plans, and where it may act and the node is not paused writes
// and observes again. Another nodetune's pass is waited for until ctx ends.
// What goes wrong with one key stands in its status and stops no other.
func (p Pass) Run(ctx context.Context) PassResult {
	status, changes := p.plan()
	o := PassResult{Rules: status, Paused: p.Store.Paused()}
	switch {
	case o.Paused != "":
		o.notePaused()
	case p.Act && len(changes) > 0:
		p.act(ctx, &o)
	}
	return o
}

// plan reads every key and leaves out the changes that are deferred.
func (p Pass) plan() ([]Status, []Change) {
	status, changes := Plan(p.Rules, p.Tree.ReadAll(p.Rules))
	changes = slices.DeleteFunc(changes, func(c Change) bool { return p.Deferred[c.Key] != "" })
	for i := range status {
		if why := p.Deferred[status[i].Key]; why != "" && status[i].Outcome == Drifted {
			status[i].Reason += "; " + why
		}
	}
	return status, changes
}

// act writes what is still to be written once it has the lock.
func (p Pass) act(ctx context.Context, o *PassResult) {
	unlock, err := p.Store.Lock(ctx)
	if _, held := errors.AsType[*LockedError](err); held {
		for i := range o.Rules {
			o.Rules[i].setError(err)
		}
		return
	}
	if err != nil {
		// A floor does no harm twice: raising the limits matters more than the lock.
		o.Warnings = append(o.Warnings, fmt.Sprintf("going on without the lock that serialises nodetunes: %v", err))
	} else {
		defer unlock()
	}
	if o.Paused = p.Store.Paused(); o.Paused != "" { // while we waited
		o.notePaused()
		return
	}
	// Another nodetune may have mended it while we waited.
	status, changes := p.plan()
	o.Rules = status
	unrecord, err := p.record(changes)
	if err != nil {
		o.Warnings = append(o.Warnings, fmt.Sprintf("'nodetune restore' will not know what this pass changed: %v", err))
	}
	for _, c := range changes {
		for i := range o.Rules {
			if o.Rules[i].Key == c.Key && o.Rules[i].Outcome == Drifted {
				p.Tree.writeAndVerify(&o.Rules[i])
			}
		}
	}
	unrecord(o.Rules)
	// Two names of one variable change together.
	for i := range o.Rules {
		if s := &o.Rules[i]; s.Op == Report {
			before := s.Before
			*s = evaluate(s.Rule, p.Tree.Read(s.Key))
			s.Before = before
		}
	}
}

func (o *PassResult) notePaused() {
	for i := range o.Rules {
		if o.Rules[i].Outcome == Drifted {
			o.Rules[i].Reason += fmt.Sprintf("; nodetune is paused: remove %s to let it write", o.Paused)
		}
	}
}

// record saves the originals of changes before they are written. What it
// returns takes those out again that the kernel then did not take: a value that
// somebody else sets later is not nodetune's to put back.
func (p Pass) record(changes []Change) (unrecord func([]Status), err error) {
	unrecord = func([]Status) {}
	if len(changes) == 0 {
		return unrecord, nil
	}
	id, err := readBootID(p.Procfs)
	if err != nil {
		return unrecord, err
	}
	was, err := p.Store.Originals()
	if err != nil {
		return unrecord, err
	}
	now := was.with(changes, id)
	if err := p.Store.putOriginals(now); err != nil {
		return unrecord, err
	}
	return func(after []Status) {
		var untaken []Key
		for _, s := range after {
			_, before := was.Keys[s.Key]
			if (s.Outcome == Failed || s.Outcome == Refused) && !s.Changed && (!before || was.BootID != id) {
				untaken = append(untaken, s.Key)
			}
		}
		if len(untaken) > 0 {
			// Where this fails the record has one too many, which restore looks at.
			_ = p.Store.putOriginals(now.without(untaken))
		}
	}, nil
}

// writeAndVerify writes what s wants and says in s what was read afterwards. It looks
// once more just before, so that a floor never takes away what somebody else
// raised meanwhile.
func (t *Tree) writeAndVerify(s *Status) {
	if r := t.Read(s.Key); r.Err == nil && s.SatisfiedBy(r.Value) {
		*s = evaluate(s.Rule, r)
		return
	}
	if err := t.Write(s.Key, s.Want); err != nil {
		s.setError(err)
		return
	}
	after := evaluate(s.Rule, t.Read(s.Key))
	after.Before = s.Before
	after.Changed = after.Value.Known() && after.Value != s.Before
	if after.Outcome == Drifted {
		after.setError(notKeptError(s.Key, s.Want, after.Value))
	}
	*s = after
}

// setError turns a status that has drifted into one that could not be mended.
func (s *Status) setError(err error) {
	if s.Outcome != Drifted {
		return
	}
	s.Outcome = Failed
	if errors.Is(err, errRefused) {
		s.Outcome = Refused
	}
	s.Err = err
	s.Reason = fmt.Sprintf("%v; %s", err, impact(s.Key, s.Value))
}
