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

// InotifyRefused is the reason of the Event on a pod whose inotify call failed.
const InotifyRefused = "InotifyRefused"

// SyscallFailureEvent returns an Event on the pod whose inotify call failed, where
// Events on pods may be written, or else on the Node. A call that failed for
// another reason than a limit has none. The name of the process is a detail: any
// process can change its own.
func (e *Events) SyscallFailureEvent(f inotify.SyscallFailure, onPods bool) (Event, bool) {
	if f.Resource == "" {
		return Event{}, false
	}
	failed := fmt.Sprintf("%s was refused with %s", f.Call, reasonOfAnyAccount(f))
	detail := processDetail(f.Comm)
	if f.Owner != nil {
		detail += ", " + text.SyscallFailureReason(f)
	}
	if f.Pod == "" || !onPods {
		subject := workload.Name(f.Namespace, f.Pod, f.Container, f.Unit)
		if subject == "" {
			subject = "a process"
		}
		ev := e.OnNode(corev1.EventTypeWarning, InotifyRefused, truncateMessage(subject+": "+failed))
		ev.Detail, ev.FromWorkload = detail, true
		return ev, true
	}
	if f.Container != "" {
		failed = "container " + safetext.String(f.Container) + ": " + failed
	}
	uid := types.UID(workload.FromCgroupPath(f.Cgroup).PodUID)
	return Event{
		Object: podReference(f.Namespace, f.Pod, uid), Type: corev1.EventTypeWarning, Reason: InotifyRefused,
		Message: truncateMessage(failed), Detail: detail,
	}, true
}

// reasonOfAnyAccount names the errno and the limit, but not the account: a process
// can change its user, and make user namespaces without end.
func reasonOfAnyAccount(f inotify.SyscallFailure) string {
	if f.Owner != nil && f.Level > 0 {
		setting := "user.max_inotify_instances"
		if f.Resource == inotify.Watches {
			setting = "user.max_inotify_watches"
		}
		return fmt.Sprintf("%s, %s of a user namespace below the node's", text.ErrnoName(f.Errno), setting)
	}
	f.Owner = nil
	return text.SyscallFailureReason(f)
}

// processDetail is the [Event.Detail] of a process that calls itself comm.
func processDetail(comm string) string { return "process " + safetext.String(comm) }
