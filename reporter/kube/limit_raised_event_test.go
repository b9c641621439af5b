package kube

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/logerrors"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/sysctl"
)

func TestVictimEvent(t *testing.T) {
	who := workload.Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit", PodUID: "uid"}
	for _, tt := range []struct {
		errno  unix.Errno
		raised sysctl.Key
		says   string
	}{
		{unix.EMFILE, sysctl.MaxUserInstances, "the log of container fluent-bit ends with errno 24 (EMFILE), and fs.inotify.max_user_instances was too low; nodetune has raised it"},
		{unix.ENOSPC, sysctl.MaxUserWatches, "errno 28 (ENOSPC), and fs.inotify.max_user_watches was too low; nodetune has raised it: a collector that does not ask again for its watches follows new logs only after a restart"},
		{unix.EMFILE, sysctl.MaxUserWatches, ""},
		{unix.ENOSPC, sysctl.FileMax, ""},
	} {
		e, ok := AffectedPodEvent(logerrors.Ending{Workload: who, Errno: tt.errno}, []sysctl.Key{tt.raised})
		if ok != (tt.says != "") || !strings.Contains(e.Message, tt.says) || ok && (e.Object.UID != "uid" || e.Reason != LimitRaised) {
			t.Errorf("%v, raised %s: %+v %v", tt.errno, tt.raised, e, ok)
		}
	}
}

func TestRaisedMessage(t *testing.T) {
	floor := sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 8192, Why: "shims"}
	if got := LimitRaisedMessage(sysctl.Status{Rule: floor}, []sysctl.Rule{floor}); got != "fs.inotify.max_user_instances was below its floor, and is raised: shims" {
		t.Error(got)
	}
	used := floor
	used.Want, used.Why = 16384, "uid 0 uses 6000"
	if got := LimitRaisedMessage(sysctl.Status{Rule: used}, []sysctl.Rule{floor}); strings.Contains(got, "6000") || !strings.Contains(got, "an account came near it") {
		t.Errorf("%s: a number makes equal Events differ", got)
	}
}
