package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/text"
)

// InotifyRefused is the reason of the Event on whose inotify was refused.
const InotifyRefused = "InotifyRefused"

// SyscallFailureEvent tells the pod whose inotify was refused, where Events on pods may
// be written, or else the Node. A call that failed for another reason than a
// limit is told to nobody.
func (e *Events) SyscallFailureEvent(f inotify.SyscallFailure, onPods bool) (Event, bool) {
	if f.Resource == "" {
		return Event{}, false
	}
	comm := safetext.String(f.Comm)
	if f.Pod == "" || !onPods {
		who := comm
		if w := workload.Name(f.Namespace, f.Pod, f.Container, f.Unit); w != "" {
			who += " of " + w
		}
		return e.OnNode(corev1.EventTypeWarning, InotifyRefused, truncateMessage(fmt.Sprintf("%s: %s was refused with %s", who, f.Call, text.SyscallFailureReason(f)))), true
	}
	if f.Container != "" {
		comm += " in container " + safetext.String(f.Container)
	}
	uid := types.UID(workload.FromCgroupPath(f.Cgroup).PodUID)
	return Event{
		Object: podReference(f.Namespace, f.Pod, uid), Type: corev1.EventTypeWarning, Reason: InotifyRefused,
		Message: truncateMessage(fmt.Sprintf("%s: %s was refused with %s", comm, f.Call, text.SyscallFailureReason(f))),
	}, true
}
