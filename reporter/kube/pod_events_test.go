package kube

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

func TestPodEvents(t *testing.T) {
	const uid = "0123abcd-0123-4567-89ab-0123456789ab"
	top := &inotify.Process{
		PID: 7, Comm: "promtail", Instances: 90, Namespace: "logging", Pod: "promtail-x8z2k", Container: "promtail",
		Cgroup: "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0123abcd_0123_4567_89ab_0123456789ab.slice/cri-containerd-" + strings.Repeat("a", 64) + ".scope",
	}
	settled := []corev1.NodeCondition{{Type: condition.InotifyPressure, Status: corev1.ConditionTrue}}
	near := *top
	near.FDs, near.NOFILESoft = 1000, 1024
	for _, tt := range []struct {
		name    string
		usage   inotify.Usage
		value   sysctl.Value
		settled []corev1.NodeCondition
		reason  string
		message string
	}{
		{"nothing is near a limit", reportertest.Accounts(5, 5, top), 128, settled, "", ""},
		{"raised", reportertest.Accounts(110, 5, top), 8192, nil, condition.InstancesNearLimit, "container promtail: a process holds the most inotify instances of a user who uses most of the limit, fs.inotify.max_user_instances; nodetune has raised it"},
		{"not decided yet", reportertest.Accounts(110, 5, top), 128, nil, "", ""},
		{"not raised further", reportertest.Accounts(110, 5, top), 128, settled, condition.InstancesNearLimit, "does not raise it further"},
		{"watches", reportertest.Accounts(5, 8000, top), 128, settled, condition.WatchesNearLimit, "fs.inotify.max_user_watches; nodetune does not"},
		{"held by no pod", reportertest.Accounts(110, 5, &inotify.Process{PID: 7, Comm: "kubelet", Instances: 90}), 128, settled, "", ""},
		{"of a user namespace", inUserNamespace(reportertest.Accounts(110, 5, top)), 8192, settled, condition.InstancesNearLimit, "of its user namespace, user.max_inotify_instances; nodetune cannot raise it"},
		{"watches of a user namespace", inUserNamespace(reportertest.Accounts(5, 8000, top)), 8192, nil, condition.WatchesNearLimit, "of its user namespace, user.max_inotify_watches; nodetune cannot raise it"},
		{"its own limit", reportertest.Accounts(5, 5, &near), 128, nil, NOFILENearLimit, "No sysctl cures that"},
	} {
		s := reporter.Snapshot{
			Sysctl:  reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{Rules: []sysctl.Status{reportertest.Floor(sysctl.MaxUserInstances, tt.value, 8192, sysctl.InForce, "")}}},
			Inotify: reporter.Result[inotify.Usage]{Value: tt.usage},
		}
		events := PodEvents(s, tt.settled, inotify.DefaultPolicy())
		if tt.reason == "" {
			if len(events) != 0 {
				t.Errorf("%s: %+v", tt.name, events)
			}
			continue
		}
		if ns := strings.Contains(tt.name, "user namespace"); ns && strings.Contains(events[0].Message, "fs.inotify") {
			t.Errorf("%s: names a setting of the node: %s", tt.name, events[0].Message)
		}
		if len(events) != 1 || events[0].Reason != tt.reason || !strings.Contains(events[0].Message, tt.message) || events[0].Object.UID != uid {
			t.Errorf("%s: %+v", tt.name, events)
		}
	}
}

// inUserNamespace moves the accounts of u into a user namespace below the node's.
func inUserNamespace(u inotify.Usage) inotify.Usage {
	for i := range u.Accounts {
		u.Accounts[i].Level = 1
	}
	return u
}

// A stalled collector gets one Event, however many logs it has stopped reading.
func TestStalledCollectorGetsOneEvent(t *testing.T) {
	now := time.Now()
	who := workload.Workload{Namespace: "logging", Pod: "rsyslog-x8z2k", Container: "rsyslog", PodUID: "uid"}
	s := reporter.Snapshot{Disk: reporter.Result[disk.Usage]{Value: disk.Usage{Readers: []logs.Reader{
		{Comm: "rsyslogd", Who: who, StalledSince: &now, Open: true, Path: "/var/log/a"},
		{Comm: "rsyslogd", Who: who, StalledSince: &now, Open: true, Path: "/var/log/b"},
		{Comm: "rsyslogd", Who: who, Open: true, Watched: true, Path: "/var/log/c"},
		{Comm: "tail", StalledSince: &now, Open: true, Path: "/var/log/a"},
	}}}}
	events := PodEvents(s, nil, inotify.DefaultPolicy())
	if len(events) != 1 || events[0].Reason != "CollectorStalled" || events[0].Object.UID != "uid" || !strings.Contains(events[0].Message, "container rsyslog: a collector stopped reading") || !strings.Contains(events[0].Message, "restart it") {
		t.Errorf("events %+v", events)
	}
}
