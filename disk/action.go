package disk

import "errors"

// Act is one thing that was done to a file, or could not be.
type Act struct {
	Verb    string `json:"act"`
	Path    string `json:"path"`
	Archive string `json:"archive,omitempty"`
	Bytes   uint64 `json:"bytes"` // freed, or moved into an archive
	Reason  string `json:"reason"`
	Asked   string `json:"asked,omitempty"`        // who was asked to reopen the log, and how
	Unread  uint64 `json:"unread_bytes,omitempty"` // gone before a reader had them
	Err     error  `json:"-"`
	Error   string `json:"error,omitempty"`
}

// The verbs of acts.
const (
	ActRotate   = "rotate"
	ActCompress = "compress"
	ActRemove   = "remove"
	ActRepair   = "repair"
	ActPunch    = "punch"
	ActRefuse   = "refuse"
)

func (a Act) failed(err error) Act {
	if err != nil {
		a.Err, a.Error = err, err.Error()
		if _, ok := errors.AsType[*Refusal](err); ok {
			a.Verb = ActRefuse
		}
	}
	return a
}
