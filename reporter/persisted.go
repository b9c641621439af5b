package reporter

import (
	"github.com/nodetune/nodetune/sysctl/sysctld"
)

// FileOutcome is what became of [sysctld.PersistFile].
type FileOutcome string

// The outcomes, as they stand in the JSON document.
const (
	FileWritten   FileOutcome = "Written"
	FileUnchanged FileOutcome = "Unchanged" // it holds what it should already, or is not needed and not there
	FileRemoved   FileOutcome = "Removed"
	FilePlanned   FileOutcome = "Planned" // a dry run
	FilePaused    FileOutcome = "Paused"
	FileFailed    FileOutcome = "Failed"
)

// Persisted is the section persist of the report: the next boot's values.
type Persisted struct {
	File    string      `json:"file"`
	Outcome FileOutcome `json:"outcome"`
	Reason  string      `json:"reason,omitempty"`
	sysctld.PersistPlan
}

// Met reports whether the next boot leaves every rule in force. It is true
// without --persist.
func (p *Persisted) Met() bool {
	if p == nil {
		return true
	}
	for _, k := range p.Keys {
		if len(k.Overrides) > 0 {
			return false
		}
	}
	return p.Outcome != FileFailed && p.Outcome != FilePaused
}
