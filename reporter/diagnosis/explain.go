package diagnosis

import (
	"slices"
	"time"

	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

// Explanation is the document of `nodetune explain`: why each key has the value
// it has, and who would set what at the next boot.
type Explanation struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Paused names the file that stops every write, where it exists.
	Paused string           `json:"paused,omitempty"`
	Keys   []KeyExplanation `json:"keys"`
	// Problems are files of sysctl.d that could not be used. An opaque one may
	// hide a line that changes the answer.
	Problems []sysctld.Problem `json:"problems,omitempty"`
}

// KeyExplanation explains one key.
type KeyExplanation struct {
	sysctl.Explanation
	Error string      `json:"error,omitempty"` // why Value could not be read
	Boot  []BootValue `json:"boot"`            // one for each loader
	// Tuned is what the active TuneD profile says, after the boot.
	Tuned *sysctld.Tuned `json:"tuned,omitempty"`
	// Cmdline is what the kernel command line sets, before any file is loaded.
	Cmdline []sysctld.Setting `json:"cmdline,omitempty"`
	// Commands are lines of start scripts and cloud-init that name the key.
	Commands []sysctld.Setting `json:"commands,omitempty"`
	// SourceUnknown reports that the running value is larger than what any known
	// source gives.
	SourceUnknown bool `json:"sourceUnknown,omitempty"`
	// LoweredBy names the programs that lowered the key in the last hour, where the
	// agent's guard saw them; ObservedWrites are all writes that it saw.
	LoweredBy      string                `json:"loweredBy,omitempty"`
	ObservedWrites sysctl.ObservedWrites `json:"observedWrites,omitempty"`
	// Guard is the mode of the agent's guard, and GuardReason why it is that; empty
	// where no agent with a guard runs.
	Guard       string `json:"guard,omitempty"`
	GuardReason string `json:"guardReason,omitempty"`
}

// BootValue is what one loader would leave in the key.
type BootValue struct {
	sysctld.Resolution
	Value     sysctl.Value `json:"value,omitzero"` // unknown: the kernel's default, which nodetune does not know for this key
	By        string       `json:"by"`             // a file:line, or who gives the value without a file
	Satisfied bool         `json:"met"`            // it satisfies the rule
}

// Sources is what can set a key, beside the files of sysctl.d.
type Sources struct {
	Cmdline  sysctld.Cmdline
	Tuned    *sysctld.Tuned
	Commands []sysctld.Setting
	// Foreign is the running value, or the value before nodetune's first change
	// where the running one is nodetune's.
	Foreign sysctl.Value
	// Guard is the mode of the agent's guard, "" where none runs, with its reason.
	Guard, GuardReason string
	// Writes are what the guard saw of the key until Now.
	Writes sysctl.ObservedWrites
	Now    time.Time
}

// Explain composes e with the sources that set it at the next boot of machine m.
func Explain(e sysctl.Explanation, m sysctl.Machine, boots []*sysctld.Boot, src Sources) KeyExplanation {
	k := KeyExplanation{Explanation: e, Tuned: src.Tuned, Cmdline: src.Cmdline.Settings(e.Key.Path()), Commands: src.Commands, ObservedWrites: src.Writes, LoweredBy: src.Writes.LoweredBy(e.Key, src.Now), Guard: src.Guard, GuardReason: src.GuardReason}
	known, _ := src.Tuned.Most()
	if e.Err != nil {
		k.Error = e.Err.Error()
	}
	for _, b := range boots {
		v := BootValue{Resolution: b.Resolve(e.Key.Path())}
		if v.Winner != nil {
			v.Value, v.By = v.Winner.Number(), v.Winner.String()
			v.Satisfied = e.SatisfiedBy(v.Value)
			known = max(known, v.Value)
		} else {
			var least, most sysctl.Value
			least, most, v.By = src.Cmdline.Initial(e.Key, m, e.Value)
			v.Value, v.Satisfied = least, e.SatisfiedBy(least)
			if e.Computed && least < most && least < e.KernelDefault {
				v.Value = e.KernelDefault // as near as it is known
			}
			known = max(known, most)
		}
		k.Boot = append(k.Boot, v)
	}
	// The command line comes first, so that a line of both loaders overrides it.
	for i := range k.Cmdline {
		if c := &k.Cmdline[i]; c.Disposition == sysctld.Wins && !slices.ContainsFunc(k.Boot, func(v BootValue) bool { return v.Winner == nil }) {
			c.Disposition, c.By = sysctld.Overridden, k.Boot[0].By
		}
	}
	k.SourceUnknown = known.Known() && src.Foreign > known
	return k
}

// Opaque reports whether a file may hide a line that changes the answer.
func (e Explanation) Opaque() bool {
	for _, p := range e.Problems {
		if p.Uncertain {
			return true
		}
	}
	return false
}
