package kube

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/internal/logerrors"
	"github.com/nodetune/nodetune/sysctl"
)

// LimitRaisedMessage is the message of LimitRaised on the Node, for a floor that was
// put in force. configured are the rules without what use and pods ask for.
func LimitRaisedMessage(s sysctl.Status, configured []sysctl.Rule) string {
	for _, r := range configured {
		if r.Key == s.Key && r.Want == s.Want {
			return truncateMessage(fmt.Sprintf("%s was below its floor, and is raised: %s", s.Key, r.Why))
		}
	}
	return fmt.Sprintf("%s is raised, because an account came near it or a pod asks for it", s.Key)
}

// AffectedPodEvent is the Event on the pod of a container that had met one of the
// raised limits.
func AffectedPodEvent(w logerrors.Ending, raised []sysctl.Key) (Event, bool) {
	var key sysctl.Key
	var then string
	switch w.Errno {
	case unix.EMFILE:
		key, then = sysctl.MaxUserInstances, "its next start needs no other change; if that fails as well, its own RLIMIT_NOFILE is the limit"
	case unix.ENOSPC:
		key, then = sysctl.MaxUserWatches, "a collector that does not ask again for its watches follows new logs only after a restart"
	}
	if !slices.Contains(raised, key) {
		return Event{}, false
	}
	return Event{
		Object: podReference(w.Namespace, w.Pod, types.UID(w.PodUID)), Type: corev1.EventTypeNormal, Reason: LimitRaised,
		Message: fmt.Sprintf("the log of container %s ends with errno %d (%s), and %s was too low; nodetune has raised it: %s",
			w.Container, int(w.Errno), unix.ErrnoName(w.Errno), key, then),
	}, true
}
