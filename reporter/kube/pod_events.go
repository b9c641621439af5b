package kube

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/sysctl"
)

// NOFILENearLimit is the reason of the Event on a pod with a process near its
// own RLIMIT_NOFILE.
const NOFILENearLimit = "NOFILENearLimit"

// PodEvents returns the Events on pods that are at a limit, or hold the most of one
// that others run into: which limit it is, and what was done; and on collectors
// that stopped reading. settled are the conditions: that a limit is not raised is
// published once a condition says so.
func PodEvents(s reporter.Snapshot, settled []corev1.NodeCondition, t inotify.Policy) []Event {
	all := stalledEvents(s.Disk)
	if s.Inotify.Err != nil {
		return all
	}
	for _, f := range inotify.Pressure(s.Inotify.Value, t) {
		if !f.Pressure || f.Top == nil || f.Top.Pod == "" {
			continue
		}
		var reason, message string
		switch f.Resource {
		case inotify.NOFILE:
			reason = NOFILENearLimit
			message = "a process has most of the descriptors open that its own RLIMIT_NOFILE allows; at the limit it fails with errno 24 (EMFILE). No sysctl cures that: raise LimitNOFILE of the container runtime, or name the program in inotify.raiseNOFILE of nodetune's configuration"
		case inotify.Instances:
			reason = condition.InstancesNearLimit
			message = limitMessage(s, f, settled, sysctl.MaxUserInstances, "inotify instances")
		case inotify.Watches:
			reason = condition.WatchesNearLimit
			message = limitMessage(s, f, settled, sysctl.MaxUserWatches, "inotify watches")
		}
		if message == "" {
			continue
		}
		uid := types.UID(workload.FromCgroupPath(f.Top.Cgroup).PodUID)
		all = append(all, Event{
			Object: podReference(f.Top.Namespace, f.Top.Pod, uid), Type: corev1.EventTypeWarning, Reason: reason,
			Message: truncateMessage(fmt.Sprintf("container %s: %s", safetext.String(f.Top.Container), message)),
			Detail:  processDetail(f.Top.Comm),
		})
	}
	return all
}

// stalledEvents returns one Event for each container with a collector that stopped
// reading.
func stalledEvents(r reporter.Result[disk.Usage]) []Event {
	if r.Err != nil {
		return nil
	}
	var all []Event
	for _, x := range r.Value.Readers {
		if x.StalledSince == nil || x.Who.Pod == "" {
			continue
		}
		e := Event{
			Object: podReference(x.Who.Namespace, x.Who.Pod, types.UID(x.Who.PodUID)), Type: corev1.EventTypeWarning, Reason: disk.ReasonStalled,
			Message: truncateMessage(fmt.Sprintf("container %s: a collector stopped reading while a log it reads grows; %s", safetext.String(x.Who.Container), x.Advice())),
			Detail:  processDetail(x.Comm),
		}
		if !slices.ContainsFunc(all, func(o Event) bool { return o.Identity() == e.Identity() }) {
			all = append(all, e)
		}
	}
	return all
}

// limitMessage reports what was done about an account's limit; nothing while that
// is not decided yet. The limit of a user namespace is not one of the node: it has
// a setting of its own, user.max_inotify_*, which nodetune cannot raise.
func limitMessage(s reporter.Snapshot, f inotify.LimitPressure, settled []corev1.NodeCondition, key sysctl.Key, noun string) string {
	if !f.OfNode() {
		own := sysctl.Key("user.max_inotify_instances")
		if key == sysctl.MaxUserWatches {
			own = "user.max_inotify_watches"
		}
		return fmt.Sprintf("a process holds the most %s of a user who uses most of the limit of its user namespace, %s; nodetune cannot raise it: raise it inside that namespace, or set it higher in the program that makes the namespace", noun, own)
	}
	is := fmt.Sprintf("a process holds the most %s of a user who uses most of the limit, %s", noun, key)
	for _, r := range s.Sysctl.Value.Rules {
		if r.Key == key && r.Value > sysctl.Value(f.Limit) {
			return is + "; nodetune has raised it"
		}
	}
	for _, c := range settled {
		if c.Type == condition.InotifyPressure && c.Status == corev1.ConditionTrue {
			return is + "; nodetune does not raise it further, see the condition InotifyPressure of the node"
		}
	}
	return ""
}
