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
	// Deferred holds the keys that this pass must not write, with the reason. A key
	// below what is in use is written all the same.
	Deferred map[Key]string
}

// Run reads, plans and, where it may act and the node is not paused, writes and
// reads again. It waits until ctx ends for another nodetune's pass. An error
// with one key is recorded in its status and does not stop the others.
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
	deferred := make(map[Key]string, len(p.Deferred))
	for _, s := range status {
		// Below what is in use the next collector fails to start now.
		if s.Value >= s.InUse {
			deferred[s.Key] = p.Deferred[s.Key]
		}
	}
	changes = slices.DeleteFunc(changes, func(c Change) bool { return deferred[c.Key] != "" })
	for i := range status {
		if why := deferred[status[i].Key]; why != "" && status[i].Outcome == Drifted {
			status[i].Reason += "; " + why
		}
	}
	return status, changes
}

// act takes the lock and writes the changes that are still needed.
func (p Pass) act(ctx context.Context, o *PassResult) {
	unlock, err := p.Store.Lock(ctx)
	if _, held := errors.AsType[*LockedError](err); held {
		for i := range o.Rules {
			o.Rules[i].setError(err)
		}
		return
	}
	if err != nil {
		// Writing a floor twice is harmless: raising limits matters more than the lock.
		o.Warnings = append(o.Warnings, fmt.Sprintf("continuing without the lock that serialises nodetune processes: %v", err))
	} else {
		defer unlock()
	}
	if o.Paused = p.Store.Paused(); o.Paused != "" { // while we waited
		o.notePaused()
		return
	}
	// Another nodetune may have written it while this one waited.
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

// Foreign returns what the keys of the rules hold, without nodetune's own writes.
// A record that cannot be read is one more reason to lower nothing: the values
// are then those that run.
func (p Pass) Foreign() []Reading {
	got := p.Tree.ReadAll(p.Rules)
	id, err := readBootID(p.Procfs)
	if err != nil {
		return got
	}
	was, err := p.Store.Originals()
	if err != nil {
		return got
	}
	return was.Foreign(got, id)
}

func (o *PassResult) notePaused() {
	for i := range o.Rules {
		if o.Rules[i].Outcome == Drifted {
			o.Rules[i].Reason += fmt.Sprintf("; nodetune is paused: remove %s to let it write", o.Paused)
		}
	}
}

// record saves the originals of changes before they are written. The function
// that it returns removes those that the kernel then refused: nodetune must not
// restore a value that another program sets later.
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
			// If this fails, the record has one entry too many, which restore checks.
			_ = p.Store.putOriginals(now.without(untaken))
		}
	}, nil
}

// writeAndVerify writes the wanted value of s, reads it back and records the
// result in s. It reads the key once more just before, so that a floor never
// lowers a value that another program raised in the meantime.
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

// setError turns a drifted status into one whose value could not be written.
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
