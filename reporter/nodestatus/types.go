package nodestatus

import (
	"slices"

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

// Types returns all of them.
func Types() []corev1.NodeConditionType { return slices.Clone(allTypes) }

// Known reports whether t is one of the conditions that nodetune may
// publish.
func Known(t corev1.NodeConditionType) bool { return slices.Contains(allTypes, t) }

// FieldManager names nodetune's writes in metadata.managedFields. What it owns
// there is what it may change and remove: no file has to remember it, and what
// a monitor that is gone has left behind is found again.
const FieldManager = "nodetune"

// StartupTaint keeps collectors off a node whose floors do not hold yet. The
// kubelet adds it when it registers the node (--register-with-taints), or the program
// that creates the node. nodetune removes it and never adds it, so that a node that was ready stays open.
const StartupTaint = "nodetune.io/not-ready"

// StartupTaintIndex returns where the taint of the startup gate stands, or -1.
func StartupTaintIndex(taints []corev1.Taint) int {
	return slices.IndexFunc(taints, func(t corev1.Taint) bool {
		return t.Key == StartupTaint && t.Effect == corev1.TaintEffectNoSchedule
	})
}
