package reporter

import (
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/internal/safetext"
)

// verdictOf renders what the disk room judged.
func verdictOf(a disk.Alarm) Verdict {
	return Verdict{
		Level:  map[disk.Level]Level{disk.Clear: Clear, disk.Between: Between, disk.Bad: Bad}[a.Level],
		Reason: a.Reason, Message: safetext.String(a.Message),
	}
}
