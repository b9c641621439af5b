package kube

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/sysctl"
)

func TestSysctlWriteEvent(t *testing.T) {
	e := &Events{host: "node"}
	pod := sysctl.ObservedWrite{Key: sysctl.MaxUserInstances, BelowFloor: true, From: 8192, To: 128, Process: "sysctl[7]", PID: 7, Namespace: "logs", Pod: "fluent-1", PodUID: "u", Container: "init"}
	change := func(f func(*sysctl.ObservedWrite)) sysctl.ObservedWrite { w := pod; f(&w); return w }
	unit := change(func(w *sysctl.ObservedWrite) {
		w.Namespace, w.Pod, w.PodUID, w.Container, w.Unit = "", "", "", "", "tuned.service"
	})
	for name, tt := range map[string]struct {
		w          sysctl.ObservedWrite
		kind, says string
	}{
		"a pod":              {pod, "Pod", "container init wrote a value below its floor to fs.inotify.max_user_instances of the node, and nodetune raises it again"},
		"held":               {change(func(w *sysctl.ObservedWrite) { w.Held = true }), "Pod", "the guard kept the floor"},
		"a pod's sandbox":    {change(func(w *sysctl.ObservedWrite) { w.Container = "" }), "Pod", "the pod wrote"},
		"a unit":             {unit, "Node", "tuned.service wrote a value below its floor"},
		"a pod without name": {change(func(w *sysctl.ObservedWrite) { w.Pod, w.Namespace = "", "" }), "Node", "the pod with the UID u wrote"},
		"neither":            {sysctl.ObservedWrite{Key: sysctl.FileMax, BelowFloor: true, Process: "x[1]", PID: 1}, "Node", "a process of no pod or unit wrote"},
		"not below":          {change(func(w *sysctl.ObservedWrite) { w.BelowFloor = false }), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ev, ok := e.SysctlWriteEvent(tt.w)
			if ok != (tt.kind != "") || ev.Object.Kind != tt.kind || !strings.Contains(ev.Message, tt.says) {
				t.Fatalf("got %+v, %v", ev, ok)
			}
			// What the writer chooses, and what changes from write to write, makes no other Event.
			w := tt.w
			w.Process, w.PID, w.UID, w.To, w.From, w.Effective, w.Count = "evil\n[12]", 12, 5, 1, 2, 3, 4
			if again, _ := e.SysctlWriteEvent(w); again != ev {
				t.Errorf("another process makes another Event: %+v", again)
			}
		})
	}
}
