package condition

import (
	"slices"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
)

// The conditions that nodetune may publish on its Node. True is bad for each of
// them, as for every condition of a Node but Ready. None of them is a name that
// a node repair system acts on by itself: EKS and Karpenter replace a node for
// KernelReady, NetworkingReady, StorageReady, ContainerRuntimeReady and
// DiskPressure.
const (
	InotifyPressure        corev1.NodeConditionType = "InotifyPressure"
	FileDescriptorPressure corev1.NodeConditionType = "FileDescriptorPressure"
	SysctlDrift            corev1.NodeConditionType = "SysctlDrift"
	LogDiskPressure        corev1.NodeConditionType = "LogDiskPressure"
	LogCollectorStalled    corev1.NodeConditionType = "LogCollectorStalled"
)

var allTypes = []corev1.NodeConditionType{
	InotifyPressure, FileDescriptorPressure, SysctlDrift, LogDiskPressure, LogCollectorStalled,
}

// Known reports whether t is one of the conditions that nodetune may
// publish.
func Known(t corev1.NodeConditionType) bool { return slices.Contains(allTypes, t) }

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
