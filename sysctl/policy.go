package sysctl

import (
	"errors"
	"slices"

	"github.com/nodetune/nodetune/internal/field"
)

// Policy is the block sysctl of the configuration.
type Policy struct {
	// Rules are the wanted settings, one for each key. Those of a configuration
	// replace the profile's rule of the same key and add to the others.
	Rules []PolicyRule `json:"rules,omitempty"`
	// FloorMemoryPercent is the share of memory that the floor and the ceiling of
	// watches may cost for one user; 0: 25. They never fall below the kernel's own
	// default.
	FloorMemoryPercent float64 `json:"floorMemoryPercent,omitempty"`
	// QueueMemoryPercent is the share of memory that the queued events of all
	// instances of one user may cost at the floors. It limits the floor and the
	// ceiling of fs.inotify.max_queued_events, which never fall below the kernel's
	// own default. A profile has 25. 0 in a configuration: 25, but no limit for a
	// rule of that key in the configuration itself.
	QueueMemoryPercent float64 `json:"queueMemoryPercent,omitempty"`
	// Guard selects what happens at the moment of a write by another program.
	Guard GuardMode `json:"guard,omitempty"`
}

// PolicyRule is one rule as it is configured. Exactly one of AtLeast, Exactly
// and ReportOnly is set.
type PolicyRule struct {
	Key string `json:"key"`
	// AtLeast is the floor: a larger value is left alone.
	AtLeast *Value `json:"atLeast,omitempty"`
	// MemoryPercent raises the floor to as many units as this share of the
	// machine's memory pays for.
	MemoryPercent float64 `json:"memoryPercent,omitempty"`
	// Ceiling bounds the floor that MemoryPercent gives, and every later raise.
	Ceiling *Value `json:"ceiling,omitempty"`
	// Exactly holds the key at this value. AllowLower must be set with it.
	Exactly *Value `json:"exactly,omitempty"`
	// AllowLower permits Exactly to lower a value that programs use.
	AllowLower bool `json:"allowLower,omitempty"`
	// ReportOnly shows the key and never writes it.
	ReportOnly bool `json:"reportOnly,omitempty"`
}

// DefaultPolicy is the profile default.
func DefaultPolicy() Policy {
	p, _ := Profile("default")
	return p
}

// Over returns base with every rule of p in the place of base's rule of the
// same key; rules of keys that base has not are added at the end.
func (p Policy) Over(base Policy) Policy {
	rules := slices.Clone(base.Rules)
	for _, r := range p.Rules {
		same := func(b PolicyRule) bool { return canonical(b.Key) == canonical(r.Key) }
		if i := slices.IndexFunc(rules, same); i >= 0 {
			rules[i] = r
		} else {
			rules = append(rules, r)
		}
	}
	over := Policy{Rules: rules, FloorMemoryPercent: base.FloorMemoryPercent, QueueMemoryPercent: base.QueueMemoryPercent, Guard: base.Guard}
	if p.Guard != GuardDefault {
		over.Guard = p.Guard
	}
	if p.FloorMemoryPercent != 0 {
		over.FloorMemoryPercent = p.FloorMemoryPercent
	}
	switch {
	case p.QueueMemoryPercent != 0:
		over.QueueMemoryPercent = p.QueueMemoryPercent
	case p.sets(MaxQueuedEvents):
		over.QueueMemoryPercent = 0 // the operator has said the number
	}
	return over
}

// sets reports whether p has a rule of its own for k.
func (p Policy) sets(k Key) bool {
	return slices.ContainsFunc(p.Rules, func(r PolicyRule) bool { return canonical(r.Key) == string(k) })
}

// canonical is the dotted spelling of name, or name where it is no key.
func canonical(name string) string {
	if k, err := ParseKey(name); err == nil {
		return string(k)
	}
	return name
}

// Validate returns every wrong field of p, joined.
func (p Policy) Validate() error {
	var errs []error
	first := make(map[string]int, len(p.Rules))
	for i, r := range p.Rules {
		at := indexed(i)
		errs = append(errs, field.Under(at, r.validate()))
		if j, dup := first[canonical(r.Key)]; dup {
			errs = append(errs, field.Errorf(at+".key", "%s has a rule already, %s: want one rule for each key", brief(r.Key), indexed(j)))
		} else {
			first[canonical(r.Key)] = i
		}
	}
	errs = append(errs, p.validateTwins(), checkShare("floorMemoryPercent", p.FloorMemoryPercent), checkShare("queueMemoryPercent", p.QueueMemoryPercent))
	return errors.Join(errs...)
}

func checkShare(name string, percent float64) error {
	if percent >= 0 && percent <= 100 {
		return nil
	}
	return field.Errorf(name, "%v: want more than 0 and at most 100", percent)
}

// shares returns the bounds on what floors may cost.
func (p Policy) shares() MemoryShares {
	s := MemoryShares{WatchesPercent: p.FloorMemoryPercent, QueuesPercent: p.QueueMemoryPercent}
	if s.WatchesPercent == 0 {
		s.WatchesPercent = defaultWatchShare
	}
	return s
}

// twins are two names of one variable in the initial user namespace.
var twins = map[Key]Key{UserMaxInstances: MaxUserInstances, UserMaxWatches: MaxUserWatches}

// validateTwins rejects an exact rule for a variable that has a second rule
// under its other name: the two would revert each other in every pass.
func (p Policy) validateTwins() error {
	writes := make(map[Key]PolicyRule)
	for _, r := range p.Rules {
		if !r.ReportOnly {
			writes[Key(canonical(r.Key))] = r
		}
	}
	var errs []error
	for i, r := range p.Rules {
		k := Key(canonical(r.Key))
		twin, ok := writes[twins[k]]
		if ok && !r.ReportOnly && (r.Exactly != nil || twin.Exactly != nil) {
			errs = append(errs, field.Errorf(indexed(i)+".key", "%s and %s are one variable in the initial user namespace: exactly needs one rule for both", k, twins[k]))
		}
	}
	return errors.Join(errs...)
}
