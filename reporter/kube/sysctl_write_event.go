package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/sysctl"
)

// SysctlLowered is the reason of the Event on a pod, or on the Node, whose
// process wrote a value below a floor.
const SysctlLowered = "SysctlLowered"

// SysctlWriteEvent returns the Event of a write below a floor. It names the
// owner by the cgroup alone: the name of a process is chosen by that process, and
// would make a new Event of each write. ok is false for other writes.
func (e *Events) SysctlWriteEvent(w sysctl.ObservedWrite) (ev Event, ok bool) {
	if !w.BelowFloor {
		return Event{}, false
	}
	then := "nodetune raises it again"
	if w.Held {
		then = "the guard kept the floor"
	}
	if w.Pod == "" {
		owner := "a process of no pod or unit"
		if name := w.Owner(); name != "" {
			owner = safetext.String(name)
		}
		return e.OnNode(corev1.EventTypeWarning, SysctlLowered, truncateMessage(fmt.Sprintf("%s wrote a value below its floor to %s, and %s; the log of nodetune names the process", owner, w.Key, then))), true
	}
	container := "the pod"
	if w.Container != "" {
		container = "container " + safetext.String(w.Container)
	}
	return Event{
		Object: podReference(w.Namespace, w.Pod, types.UID(w.PodUID)), Type: corev1.EventTypeWarning, Reason: SysctlLowered,
		Message: truncateMessage(fmt.Sprintf("%s wrote a value below its floor to %s of the node, and %s", container, w.Key, then)),
	}, true
}
