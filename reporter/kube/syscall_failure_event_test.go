package kube

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

// A failure in a pod gets an Event on the pod, any other one on the Node; an error that
// no limit causes gets none. Equal failures have equal Events: no number in them changes.
func TestRefusedEvents(t *testing.T) {
	e := &Events{host: "node1"}
	for i, f := range reportertest.RefusedOfEachKind {
		ev, ok := e.SyscallFailureEvent(f, true)
		if ok != (f.Resource != "") {
			t.Errorf("%+v: event %v", f, ok)
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
		onNode, _ := e.SyscallFailureEvent(f, false)
		if e.queue(ev) != &e.workloads || e.queue(onNode) != &e.workloads {
			t.Errorf("in the queue of the Node's own Events: %+v, %+v", ev, onNode)
		}
		if comm := safetext.String(f.Comm); !strings.Contains(ev.text(), comm) || !strings.Contains(onNode.text(), comm) {
			t.Errorf("the process is not named: %+v", ev)
		}
		f.Count, f.PID, f.Used, f.UID, f.Comm = f.Count+1, f.PID+1, f.Used-1, f.UID+1, "kubelet"
		if f.Owner != nil {
			owner := *f.Owner
			owner.UID, owner.UserNS = owner.UID+1, owner.UserNS+1
			f.Owner = &owner
		}
		if again, _ := e.SyscallFailureEvent(f, true); again.Identity() != ev.Identity() {
			t.Errorf("another Event for the same: %+v, %+v", ev, again)
		}
		if again, _ := e.SyscallFailureEvent(f, false); again.Identity() != onNode.Identity() {
			t.Errorf("another Event on the Node for the same: %+v, %+v", onNode, again)
		}
	}
}
