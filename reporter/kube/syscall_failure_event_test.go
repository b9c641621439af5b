package kube

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

// A pod's refusal is told to the pod, others' to the Node, and none that is no
// limit's. Equal ones are equal: no number that changes is in them.
func TestRefusedEvents(t *testing.T) {
	e := &Events{host: "node1"}
	for i, f := range reportertest.RefusedOfEachKind {
		ev, ok := e.SyscallFailureEvent(f, true)
		if ok != (f.Resource != "") {
			t.Errorf("%+v: told %v", f, ok)
		}
		if !ok {
			continue
		}
		if kind := ev.Object.Kind; (kind == "Pod") != (f.Pod != "") || i == 0 && (ev.Object.Name != "fb" || ev.Object.Namespace != "logging") {
			t.Errorf("on %+v", ev.Object)
		}
		if onNode, _ := e.SyscallFailureEvent(f, false); onNode.Object.Kind != "Node" || !strings.Contains(onNode.Message, workload.Name(f.Namespace, f.Pod, f.Container, f.Unit)) {
			t.Errorf("not on the Node: %+v", onNode)
		}
		f.Count, f.PID, f.Used = f.Count+1, f.PID+1, f.Used-1
		if again, _ := e.SyscallFailureEvent(f, true); again != ev {
			t.Errorf("another Event for the same: %+v, %+v", ev, again)
		}
		t.Log(ev.Message)
	}
}
