package text

import (
	"fmt"
	"strconv"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
)

// From these shares of a limit on a figure is warm and hot: the default
// threshold of pressure, and so full that one more collector may not start.
const (
	WarmPercent = 80
	HotPercent  = 95
)

// severityColor is the colour of a share.
func severityColor(percent float64) string {
	switch {
	case percent >= HotPercent:
		return red
	case percent >= WarmPercent:
		return yellow
	}
	return ""
}

// FormatCount marks a number that is not exact.
func FormatCount(n int64, q inotify.Quality) string {
	switch q {
	case inotify.Exact:
		return strconv.FormatInt(n, 10)
	case inotify.UpperBound:
		return "≤" + strconv.FormatInt(n, 10)
	case inotify.Estimate:
		return "~" + strconv.FormatInt(n, 10)
	}
	return "?"
}

// UserNS names a user namespace by its inode number, and the initial one by
// that word.
func UserNS(inode uint64) string {
	if inode == inotify.InitialUserNS {
		return "initial"
	}
	return strconv.FormatUint(inode, 10)
}

// GapText is what could not be known, with the reason.
func GapText(g inotify.Gap) string {
	s := safetext.String(g.What) + ": " + safetext.String(g.Why)
	if g.Processes > 0 {
		s += fmt.Sprintf(" (%s)", field.Count(g.Processes, "process", "processes"))
	}
	return s
}
