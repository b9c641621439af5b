package sysctl

import (
	"bytes"
	"fmt"
	"strings"
)

// GuardMode is the field sysctl.guard: what the agent does about writes of the
// managed keys at the moment of the write.
type GuardMode string

const (
	// GuardDefault is GuardObserve where the agent has the capabilities for it,
	// and GuardOff elsewhere.
	GuardDefault GuardMode = ""
	// GuardOff finds a lowered key at the next pass.
	GuardOff GuardMode = "off"
	// GuardObserve records each write, and raises a key again at once.
	GuardObserve GuardMode = "observe"
	// GuardHold also makes a write below the floor take effect as the floor. It
	// changes what another program writes, so it is never a default.
	GuardHold GuardMode = "hold"
)

// GuardModes are the modes that a guard can have.
var GuardModes = []GuardMode{GuardOff, GuardObserve, GuardHold}

// UnmarshalJSON reads one of the three words.
func (m *GuardMode) UnmarshalJSON(b []byte) error {
	switch s := string(bytes.TrimSpace(b)); s {
	case `"off"`, "false": // YAML 1.1 reads the word off as false
		*m = GuardOff
	case `"observe"`:
		*m = GuardObserve
	case `"hold"`:
		*m = GuardHold
	default:
		return fmt.Errorf("%s is not a mode of the guard: want off, observe or hold, or leave the field out", brief(strings.Trim(s, `"`)))
	}
	return nil
}

// JSONSchema describes what UnmarshalJSON takes.
func (GuardMode) JSONSchema() string { return `{"enum":["off","observe","hold",false]}` }

// GuardFloors returns the keys that rules manage, each with the floor that a
// guard holds. It is 0 for a key that a rule may lower. Rules must be those of
// [Policy.For], without what [WithNeeds] adds: a raise that use called for is
// no floor of the configuration.
func GuardFloors(rules []Rule) map[Key]Value {
	floors := make(map[Key]Value, len(rules))
	for _, r := range rules {
		switch r.Op {
		case AtLeast:
			floors[r.Key] = r.Want
		case Exactly:
			floors[r.Key] = 0
		}
	}
	return floors
}

// GuardProgram is a BPF program that the kernel runs for each access to a file
// below /proc/sys.
type GuardProgram struct {
	ID   uint32 `json:"id"`
	Name string `json:"name,omitempty"`
	Own  bool   `json:"own,omitempty"` // nodetune attached it
}
