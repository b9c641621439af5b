package fleet

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/reporter/view"
)

func TestSummarize(t *testing.T) {
	foreign := reportertest.Node("f", "True", "FileDescriptorPressure=True")
	foreign.ManagedFields[0].Manager = "npd-plus"
	unrecorded := func(name, ready string, conditions ...string) *corev1.Node {
		n := reportertest.Node(name, corev1.ConditionStatus(ready), conditions...)
		n.ManagedFields = nil
		return n
	}
	mixed := reportertest.Node("m", "True", "SysctlDrift=False")
	mixed.Status.Conditions = append(mixed.Status.Conditions, corev1.NodeCondition{Type: "LogDiskPressure", Status: "False", Reason: "R", LastTransitionTime: metav1.NewTime(reportertest.Noon.Add(-time.Hour))})
	for _, tt := range []struct {
		node   *corev1.Node
		state  State
		reason string
		since  time.Duration
	}{
		{reportertest.Node("a", "True", "InotifyPressure=False", "SysctlDrift=False"), OK, "", 0},
		{reportertest.Node("b", "True", "InotifyPressure=False", "SysctlDrift=True"), Problem, "SysctlDrift (R)", 2 * time.Hour},
		{reportertest.Node("c", "True", "InotifyPressure=True", "SysctlDrift=True"), Problem, "InotifyPressure (R), SysctlDrift (R)", 2 * time.Hour},
		{reportertest.Node("d", "True", "InotifyPressure=Unknown", "SysctlDrift=True"), Problem, "SysctlDrift (R)", 2 * time.Hour},
		{reportertest.Node("e", "True", "InotifyPressure=Unknown", "SysctlDrift=False"), Unknown, "InotifyPressure (R)", time.Hour},
		{foreign, Silent, "no condition of nodetune", 0},
		{reportertest.Node("g", "False"), Silent, "no condition of nodetune", 0},
		{reportertest.Node("h", "Unknown", "SysctlDrift=False"), Unknown, "the node is not Ready, so its conditions are not renewed", 0},
		{unrecorded("j", "True", "SysctlDrift=False"), Unknown, "SysctlDrift (R; its owner is not recorded)", time.Hour},
		{unrecorded("k", "True", "InotifyPressure=False", "SysctlDrift=True"), Problem, "SysctlDrift (R; its owner is not recorded)", 2 * time.Hour},
		{unrecorded("l", "True", "InotifyPressure=Unknown", "SysctlDrift=False"), Unknown, "InotifyPressure (R; its owner is not recorded), SysctlDrift (R; its owner is not recorded)", 2 * time.Hour},
		{mixed, Unknown, "LogDiskPressure (R; its owner is not recorded)", time.Hour},
		{unrecorded("n", "True"), Silent, "no condition of nodetune", 0},
		{unrecorded("o", "True", "KernelDeadlock=True"), Silent, "no condition of nodetune", 0},
		{reportertest.Node("i", "False", "SysctlDrift=True"), Unknown, "the node is not Ready, so its conditions are not renewed; its last state is SysctlDrift (R)", time.Hour},
	} {
		got := Summarize(tt.node)
		if got.State != tt.state || got.Reason != tt.reason {
			t.Errorf("%s: %s %q, want %s %q", got.Name, got.State, got.Reason, tt.state, tt.reason)
		}
		if since := reportertest.Noon.Sub(got.Since); tt.since == 0 != got.Since.IsZero() || tt.since != 0 && since != tt.since {
			t.Errorf("%s: since %s, want %s", got.Name, since, tt.since)
		}
	}
}

func TestSortNodes(t *testing.T) {
	nodes := []Node{
		{Name: "ok", State: OK},
		{Name: "new", State: Problem, Since: reportertest.Noon, Live: &LiveUse{Instances: Use{90, 100}}},
		{Name: "old", State: Problem, Since: reportertest.Noon.Add(-time.Hour), Live: &LiveUse{Watches: Use{95, 100}}},
		{Name: "mute", State: Silent, Live: &LiveUse{Error: "no"}},
	}
	for by, want := range map[string]string{
		"name": "mute new ok old", "state": "new old mute ok", "since": "old new mute ok", "use": "old new mute ok",
	} {
		if !Sort(nodes, by) {
			t.Fatalf("cannot sort by %s", by)
		}
		var got []string
		for _, n := range nodes {
			got = append(got, n.Name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("by %s: %s, want %s", by, got, want)
		}
	}
	if Sort(nodes, "beauty") {
		t.Error("sorted by beauty")
	}
}

func TestLiveOf(t *testing.T) {
	u := view.Inotify{
		Limits: view.Limits{Instances: 128, Watches: 8192, FileMax: 1000, OpenFiles: 10},
		Accounts: []view.Account{
			{Instances: 110, InstancesLimit: 128, Watches: 100, WatchesLimit: 8192},
			{Owner: view.Owner{UID: 1}, InstancesLimit: 128, Watches: 8000, WatchesLimit: 8192},
		},
		Processes: []view.Process{{PID: 7, Comm: "promtail", Instances: 90}},
	}
	l := summarizeUse(&u)
	if l.Instances != (Use{110, 128}) || l.Watches != (Use{8000, 8192}) || l.OpenFiles != (Use{10, 1000}) || l.Top.Comm != "promtail" {
		t.Errorf("got %+v", l)
	}
}
