package fleet

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

func TestSummarize(t *testing.T) {
	foreign := reportertest.Node("f", "True", "FileDescriptorPressure=True")
	foreign.ManagedFields[0].Manager = "npd-plus"
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
	u := reportertest.Accounts(110, 100, &inotify.Process{PID: 7, Comm: "promtail", Instances: 90})
	u.Accounts = append(u.Accounts, inotify.Account{Owner: inotify.Owner{UID: 1}, InstancesLimit: 128, Watches: 8000, WatchesLimit: 8192})
	l := summarizeUse(&u)
	if l.Instances != (Use{110, 128}) || l.Watches != (Use{8000, 8192}) || l.OpenFiles != (Use{10, 1000}) || l.Top.Comm != "promtail" {
		t.Errorf("got %+v", l)
	}
}
