package reporter

import (
	"fmt"
	"time"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/field"
)

// LogAct is what was done to a log file, or could not be.
func LogAct(a logdir.Action, now time.Time) Act {
	act := Act{At: now, Kind: ActKind(a.Verb), On: a.Path, What: a.Path, Why: a.Reason}
	if a.Err != nil || a.Error != "" {
		act.Failed, act.Why = true, a.Error
		return act
	}
	act.What += ": " + field.Size(a.Bytes)
	if a.Asked != "" {
		act.What += ", asked " + a.Asked
	}
	if a.Unread > 0 {
		act.What += fmt.Sprintf(", %s of it unread", field.Size(a.Unread))
	}
	return act
}
