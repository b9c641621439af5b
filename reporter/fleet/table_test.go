package fleet

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/reporter/view"
)

func TestTable(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	nodes := []Node{
		{
			Name: "w1", Ready: corev1.ConditionTrue, State: Problem, Since: now.Add(-3 * time.Hour), Reason: "InotifyPressure (InstancesNearLimit)",
			Live: &LiveUse{
				Instances: Use{Used: 110, Limit: 128}, Watches: Use{Used: 7, Limit: 8192}, OpenFiles: Use{Used: 5, Limit: view.NoLimit},
				Top: &TopConsumer{Comm: "promtail\x1b[31m", Used: 90},
			},
		},
		{Name: "w2", Ready: corev1.ConditionTrue, State: Silent, Reason: "no condition of nodetune", StartupTaint: true, Live: &LiveUse{Error: "no pod"}},
		{Name: "w3", Ready: corev1.ConditionTrue, State: OK},
	}
	for _, tt := range []struct {
		live bool
		want string
	}{
		{false, `
NODE   READY   STATE     SINCE   WHY
w1     True    problem   3h      InotifyPressure (InstancesNearLimit)
w2     True    silent    -       no condition of nodetune; the startup gate is closed
w3     True    ok        -

3 nodes: 1 with a problem, 0 unknown, 1 silent, 1 ok
`},
		{true, `
NODE   READY   STATE     SINCE   INSTANCES     WATCHES     OPEN FILES   TOP                      WHY
w1     True    problem   3h      110/128 86%   7/8192 0%   5            promtail\x1b[31m (90)    InotifyPressure (InstancesNearLimit)
w2     True    silent    -       ?             ?           ?            ?                        no condition of nodetune; the startup gate is closed; no pod
w3     True    ok        -       ?             ?           ?            ?

3 nodes: 1 with a problem, 0 unknown, 1 silent, 1 ok
`},
	} {
		var got strings.Builder
		if err := Table(&got, nodes, tt.live, now); err != nil {
			t.Fatal(err)
		}
		lines := func(s string) (all []string) {
			for l := range strings.Lines(s) {
				all = append(all, strings.Join(strings.Fields(l), " "))
			}
			return all
		}
		if !slices.Equal(lines(got.String()), lines(tt.want[1:])) {
			t.Errorf("live %t: got\n%s\nwant\n%s", tt.live, &got, tt.want)
		}
	}
}
