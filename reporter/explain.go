package reporter

import (
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
}

// BootValue is what one loader would leave in the key.
type BootValue struct {
	sysctld.Resolution
	Value sysctl.Value `json:"value,omitzero"` // unknown: the kernel's default, which nodetune does not know for this key
	By    string       `json:"by"`             // a file:line, or who gives the value without a file
	Met   bool         `json:"met"`            // it satisfies the rule
}

// Explain composes e with who would set it at the next boot of machine m.
func Explain(e sysctl.Explanation, m sysctl.Machine, boots []*sysctld.Boot, tuned *sysctld.Tuned) KeyExplanation {
	k := KeyExplanation{Explanation: e, Tuned: tuned}
	if e.Err != nil {
		k.Error = e.Err.Error()
	}
	for _, b := range boots {
		v := BootValue{Resolution: b.Resolve(e.Key.Path())}
		if v.Winner != nil {
			v.Value, v.By = v.Winner.Number(), v.Winner.String()
			v.Met = e.SatisfiedBy(v.Value)
		} else {
			var least sysctl.Value
			least, _, v.By = sysctl.Initial(e.Key, m, e.Value)
			v.Value, v.Met = least, e.SatisfiedBy(least)
			if e.Computed && least < e.KernelDefault {
				v.Value = e.KernelDefault // as near as it is known
			}
		}
		k.Boot = append(k.Boot, v)
	}
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
