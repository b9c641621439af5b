package condition

import (
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/internal/safetext"
)

// logDiskPressure is what the disk package found about the filesystems with logs.
// Without one that could be measured nothing is known.
func logDiskPressure(u disk.Usage) Evaluation {
	v := fromAssessment(u.Pressure)
	if v.Severity == Bad {
		return v
	}
	for _, f := range u.Filesystems {
		if f.Measured() && f.SizeBytes > 0 {
			return v
		}
	}
	return Evaluation{Severity: Unknown, Reason: LogDiskUnknown, Message: "no filesystem with logs could be measured"}
}

// fromAssessment renders an assessment of the disk package.
func fromAssessment(a disk.Assessment) Evaluation {
	return Evaluation{
		Severity: map[disk.Severity]Severity{disk.Clear: Clear, disk.Between: Between, disk.Bad: Bad}[a.Severity],
		Reason:   a.Reason, Message: safetext.String(a.Message),
	}
}
