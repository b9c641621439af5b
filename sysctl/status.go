package sysctl

import "encoding/json"

// Op says how a rule compares.
type Op string

const (
	// AtLeast is a floor: a larger value is left alone.
	AtLeast Op = "AtLeast"
	// Exactly may also lower. The configuration must say allowLower.
	Exactly Op = "Exactly"
	// Report reads the key and never writes it.
	Report Op = "Report"
	// Restore puts back the value found before nodetune's first change.
	Restore Op = "Restore"
)

// Rule is one wanted setting on this machine.
type Rule struct {
	Key     Key   `json:"key"`
	Op      Op    `json:"op"`
	Want    Value `json:"want,omitzero"`    // Unknown with Report
	Ceiling Value `json:"ceiling,omitzero"` // where raises beyond Want must stop; Unknown: nowhere
	// Why says why it is this number, in one line.
	Why string `json:"-"`
}

// Reading is what a key held when it was read.
type Reading struct {
	Key   Key
	Value Value // Unknown with an Err
	Err   error // wraps fs.ErrNotExist where the kernel lacks the key
}

// Outcome is how a rule stands after a pass.
type Outcome string

// The outcomes, as they stand in the JSON document.
const (
	InForce   Outcome = "InForce"   // the value read satisfies the rule
	Drifted   Outcome = "Drifted"   // it does not, and nothing was written
	Refused   Outcome = "Refused"   // the kernel did not take the value
	Absent    Outcome = "Absent"    // this kernel has no such key
	Failed    Outcome = "Failed"    // it could not be read or written
	Contested Outcome = "Contested" // another writer keeps changing it back (the agent only)
)

// Status is one rule after a pass. Value is read, never wished.
type Status struct {
	Rule
	Value   Value   `json:"value,omitzero"`  // read last
	Before  Value   `json:"before,omitzero"` // read first
	Outcome Outcome `json:"outcome"`
	Changed bool    `json:"changed"`
	// Reason says what follows from a difference, or why it was not mended and
	// what to do about it.
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

// Satisfied reports whether nothing is left to do for s. Nobody asked for anything of
// a key that is only reported, so that one that cannot be read is not unsatisfied.
func (s Status) Satisfied() bool {
	return s.Outcome == InForce || s.Outcome == Absent || s.Op == Report
}

// Change is one value to write.
type Change struct {
	Key      Key
	From, To Value
}

// PassResult is what one pass saw and did.
type PassResult struct {
	Rules []Status `json:"rules"`
	// Paused names the file that stops every write, where it exists.
	Paused string `json:"paused,omitempty"`
	// Warnings do not keep a rule from being in force.
	Warnings []string `json:"warnings,omitempty"`
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
