package logdir

import (
	"errors"
)

// Action is one thing that was done to a file, or could not be.
type Action struct {
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
	ActionRotate   = "rotate"
	ActionCompress = "compress"
	ActionRemove   = "remove"
	ActionRepair   = "repair"
	ActionPunch    = "punch"
	ActionSkip     = "refuse"
)

// WithError returns a with err. An action that was skipped gets the verb ActionSkip.
func (a Action) WithError(err error) Action {
	if err != nil {
		a.Err, a.Error = err, err.Error()
		if _, ok := errors.AsType[*SkippedError](err); ok {
			a.Verb = ActionSkip
		}
	}
	return a
}
