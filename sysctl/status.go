package sysctl

import "encoding/json"

// Op is how a rule compares with a value.
type Op string

const (
	// AtLeast is a floor: a larger value is left alone.
	AtLeast Op = "AtLeast"
	// Exactly may also lower. The configuration must say allowLower.
	Exactly Op = "Exactly"
	// Report reads the key and never writes it.
	Report Op = "Report"
	// Restore writes the value from before nodetune's first change.
	Restore Op = "Restore"
)

// Rule is one wanted setting on this machine.
type Rule struct {
	Key     Key   `json:"key"`
	Op      Op    `json:"op"`
	Want    Value `json:"want,omitzero"`    // Unknown with Report
	Ceiling Value `json:"ceiling,omitzero"` // where raises beyond Want must stop; Unknown: nowhere
	// Why is the reason for the number, in one line.
	Why string `json:"-"`
	// InUse is the part of Want that current use requires; 0: none is known.
	InUse Value `json:"-"`
}

// Reading is the value of a key at the time of the read.
type Reading struct {
	Key   Key
	Value Value // Unknown with an Err
	Err   error // wraps fs.ErrNotExist where the kernel lacks the key
}

// Outcome is the result of a pass for one rule.
type Outcome string

// The outcomes, as the JSON document spells them.
const (
	InForce   Outcome = "InForce"   // the value read satisfies the rule
	Drifted   Outcome = "Drifted"   // it does not, and nothing was written
	Refused   Outcome = "Refused"   // the kernel did not accept the value
	Absent    Outcome = "Absent"    // this kernel has no such key
	Failed    Outcome = "Failed"    // it could not be read or written
	Contested Outcome = "Contested" // another program keeps changing it back (the agent only)
)

// Status is one rule after a pass. Value is always read from the kernel.
type Status struct {
	Rule
	Value   Value   `json:"value,omitzero"`  // read last
	Before  Value   `json:"before,omitzero"` // read first
	Outcome Outcome `json:"outcome"`
	Changed bool    `json:"changed"`
	// Reason describes the impact of a difference, or why it was not corrected
	// and what to do about it.
	Reason string `json:"reason,omitempty"`
	Err    error  `json:"-"`
}

// UnmarshalJSON leaves unknown what a document leaves out.
func (s *Status) UnmarshalJSON(b []byte) error {
	type plain Status
	p := plain{Rule: Rule{Want: Unknown, Ceiling: Unknown}, Value: Unknown, Before: Unknown}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*s = Status(p)
	return nil
}

// Satisfied reports whether s needs no action. A key that is only reported has
// no wanted value, so it is satisfied even where it cannot be read.
func (s Status) Satisfied() bool {
	return s.Outcome == InForce || s.Outcome == Absent || s.Op == Report
}

// Change is one value to write.
type Change struct {
	Key      Key
	From, To Value
}

// PassResult is what one pass read and did.
type PassResult struct {
	Rules []Status `json:"rules"`
	// Paused names the file that stops every write, where it exists.
	Paused string `json:"paused,omitempty"`
	// Warnings do not keep a rule from being in force.
	Warnings []string `json:"warnings,omitempty"`
	// Guard is the mode of the agent's guard. It is empty where it is not known,
	// as it is without an agent.
	Guard string `json:"guard,omitempty"`
	// GuardReason says why the guard is off, or does less than is configured.
	GuardReason string `json:"guard_reason,omitempty"`
	// GuardLimits are what the guard does not know of a write.
	GuardLimits []string `json:"guard_limits,omitempty"`
	// GuardPrograms are the BPF programs at the cgroup root, in the order in which
	// they run, where one is not nodetune's: the last one decides.
	GuardPrograms []GuardProgram `json:"guard_programs,omitempty"`
	// ObservedWrites are writes of the managed keys by other programs.
	ObservedWrites ObservedWrites `json:"observed_writes,omitempty"`
}

// Unsatisfied returns the rules that are neither in force nor absent.
func (o PassResult) Unsatisfied() []Status {
	var unsatisfied []Status
	for _, s := range o.Rules {
		if !s.Satisfied() {
			unsatisfied = append(unsatisfied, s)
		}
	}
	return unsatisfied
}
