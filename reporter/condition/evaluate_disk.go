package condition

import (
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/internal/safetext"
)

// fromAssessment renders what the disk room judged.
func fromAssessment(a disk.Assessment) Evaluation {
	return Evaluation{
		Severity: map[disk.Severity]Severity{disk.Clear: Clear, disk.Between: Between, disk.Bad: Bad}[a.Severity],
		Reason:   a.Reason, Message: safetext.String(a.Message),
	}
}
