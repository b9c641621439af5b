package condition

import (
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/reporter/nodestatus"
)

// The conditions that nodetune may publish on its Node.
const (
	InotifyPressure        = nodestatus.InotifyPressure
	FileDescriptorPressure = nodestatus.FileDescriptorPressure
	SysctlDrift            = nodestatus.SysctlDrift
	LogDiskPressure        = nodestatus.LogDiskPressure
	LogCollectorStalled    = nodestatus.LogCollectorStalled
)

var allTypes = nodestatus.Types()

// Known reports whether t is one of the conditions that nodetune may
// publish.
func Known(t corev1.NodeConditionType) bool { return nodestatus.Known(t) }

// Severity is how one pass rates one condition, before hysteresis.
type Severity int

const (
	// Unevaluated is a condition for which no pass has ended yet. The condition of the Node stays as it
	// is, because an agent that has just started knows less than the one before
	// it did.
	Unevaluated Severity = iota
	// Unknown is a pass that ended too long ago, that fails, or that could not
	// see enough: no shortage was seen, and there may be one.
	Unknown
	// Clear is at or below the share where the condition becomes False.
	Clear
	// Between is above that and below the share where it becomes True.
	Between
	// Bad is at or above that share.
	Bad
)

// Evaluation is how one pass rates one condition, with the reason.
type Evaluation struct {
	Type     corev1.NodeConditionType
	Severity Severity
	At       time.Time // when the pass ended; the same At is the same pass
	Reason   string
	Message  string
}

// maxMessageBytes bounds a message: 256 bytes hold the value seen, the value
// wanted and the top holder, and five conditions of 5,000 nodes stay 6 MB.
const maxMessageBytes = 256

// truncate returns s cut to maxMessageBytes, never inside a character.
func truncate(s string) string {
	if len(s) <= maxMessageBytes {
		return s
	}
	const dots = "..."
	cut := maxMessageBytes - len(dots)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + dots
}
