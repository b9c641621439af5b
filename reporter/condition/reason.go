package condition

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/disk"
)

// The reasons of conditions. They are part of the interface: alerts match them.
const (
	SufficientInotify         = "SufficientInotify"
	InstancesNearLimit        = "InstancesNearLimit"
	WatchesNearLimit          = "WatchesNearLimit"
	SufficientFileDescriptors = "SufficientFileDescriptors"
	OpenFilesNearLimit        = "OpenFilesNearLimit"
	FloorsInForce             = "FloorsInForce"
	FloorNotHeld              = "FloorNotHeld"
	Paused                    = "Paused"
	WriteFailed               = "WriteFailed"
	KernelRefused             = "KernelRefused"
	ContestedByWriter         = "Contested"
	EventsUnread              = "CollectorEventsUnread"
	InotifyUsageUnknown       = "InotifyUsageUnknown"
	SettingsUnknown           = "SettingsUnknown"
	LogDiskUnknown            = "LogDiskUnknown"
	ReadersUnknown            = "ReadersUnknown"
	PassStale                 = "PassStale"
	PassFailed                = "PassFailed"
)

// Reason is a row of the table of reasons. Means is the message of the Event
// that marks the transition: without a number, so that equal Events stay equal.
type Reason struct {
	Type         corev1.NodeConditionType // "" is any
	Status       corev1.ConditionStatus
	Reason       string
	EventMessage string
}

// Reasons is every reason that nodetune gives.
var Reasons = []Reason{
	{InotifyPressure, corev1.ConditionTrue, InstancesNearLimit, "an account uses most of its inotify instances; at the limit the next collector it starts fails with errno 24 (EMFILE)"},
	{InotifyPressure, corev1.ConditionTrue, WatchesNearLimit, "an account uses most of its inotify watches; at the limit its collectors miss new files, errno 28 (ENOSPC)"},
	{InotifyPressure, corev1.ConditionFalse, SufficientInotify, "every account has inotify instances and watches left"},
	{FileDescriptorPressure, corev1.ConditionTrue, OpenFilesNearLimit, "most of fs.file-max is open; at the limit every open(2) on the node fails with errno 23 (ENFILE)"},
	{FileDescriptorPressure, corev1.ConditionFalse, SufficientFileDescriptors, "the node has open files left"},
	{SysctlDrift, corev1.ConditionTrue, FloorNotHeld, "a setting is not as wanted, and nodetune may not change it"},
	{SysctlDrift, corev1.ConditionTrue, Paused, "a setting is not as wanted, and nodetune is paused on this node"},
	{SysctlDrift, corev1.ConditionTrue, WriteFailed, "a setting could not be read or written"},
	{SysctlDrift, corev1.ConditionTrue, KernelRefused, "the kernel did not take the wanted value of a setting"},
	{SysctlDrift, corev1.ConditionTrue, ContestedByWriter, "another program keeps lowering a setting below its floor"},
	{SysctlDrift, corev1.ConditionFalse, FloorsInForce, "every setting is as wanted"},
	{LogDiskPressure, corev1.ConditionTrue, disk.ReasonSpaceLow, "a filesystem with logs is short of space; below the kubelet's threshold it evicts pods, and when full lines are lost"},
	{LogDiskPressure, corev1.ConditionTrue, disk.ReasonInodesLow, "a filesystem with logs is short of inodes; below 5 % the kubelet evicts pods"},
	{LogDiskPressure, corev1.ConditionTrue, disk.ReasonEvictionSoon, "a filesystem with logs fills so fast that the kubelet will evict pods soon"},
	{LogDiskPressure, corev1.ConditionTrue, disk.ReasonFullSoon, "a filesystem with logs will be full soon"},
	{LogDiskPressure, corev1.ConditionTrue, disk.ReasonUnusable, "a filesystem with logs does not answer or was shut down; nothing is logged there"},
	{LogDiskPressure, corev1.ConditionFalse, disk.ReasonSpace, "every filesystem with logs has space"},
	{LogCollectorStalled, corev1.ConditionTrue, disk.ReasonStalled, "a log collector stopped reading while a log it reads grows; a raised limit does not wake it, a restart does"},
	{LogCollectorStalled, corev1.ConditionTrue, disk.ReasonUnfollowed, "a container's log grows and no collector follows it; one that was refused a watch may need a restart"},
	{LogCollectorStalled, corev1.ConditionTrue, EventsUnread, "a log collector does not read its inotify events; when their queue is full it misses what happens to the logs"},
	{LogCollectorStalled, corev1.ConditionFalse, disk.ReasonReading, "the log collectors read what is written"},
	{InotifyPressure, corev1.ConditionUnknown, InotifyUsageUnknown, "nodetune cannot see all processes or limits, so an account may be at its limit; give it the capabilities of deploy/base, or the eBPF source"},
	{SysctlDrift, corev1.ConditionUnknown, SettingsUnknown, "none of the settings can be read; /proc/sys is hidden from nodetune"},
	{LogDiskPressure, corev1.ConditionUnknown, LogDiskUnknown, "no filesystem with logs can be measured"},
	{LogCollectorStalled, corev1.ConditionUnknown, ReadersUnknown, "nodetune cannot see which process reads which log; give it CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, unless the message names an unfinished walk"},
	{"", corev1.ConditionUnknown, PassStale, "the pass that evaluates this has not ended in time"},
	{"", corev1.ConditionUnknown, PassFailed, "the pass that evaluates this fails"},
}

// EventMessage returns the row for a condition.
func EventMessage(c corev1.NodeCondition) string {
	for _, r := range Reasons {
		if r.Reason == c.Reason && r.Status == c.Status && (r.Type == "" || r.Type == c.Type) {
			return r.EventMessage
		}
	}
	return c.Reason
}
