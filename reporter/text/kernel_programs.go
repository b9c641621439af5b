package text

import (
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/sysctl"
)

// guardText is what happens to a write of another program, in this mode of the guard.
func guardText(mode, reason string) string {
	text := mode
	switch sysctl.GuardMode(mode) {
	case sysctl.GuardOff:
		text += ": a write of another program is found by the next pass, within half a minute"
	case sysctl.GuardObserve:
		text += ": a write of another program is known at once, and undone where the agent may write"
	case sysctl.GuardHold:
		text += ": a write below the floor takes effect as the floor"
	}
	if reason != "" {
		text += " (" + safetext.String(reason) + ")"
	}
	return text
}

// tracingText is how calls that fail are traced.
func tracingText(s inotify.RefusalSource) string {
	text := "traced by " + s.RefusalsSource
	if s.RefusalsSource == inotify.RefusalSourceOff {
		text = "not traced"
	}
	if s.RefusalsReason != "" {
		text += ": " + safetext.String(s.RefusalsReason)
	}
	return text
}
