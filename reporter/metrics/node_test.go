package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/kube"
)

// A condition that is Unknown has no series of its own, and one that reports this.
func TestUnknownCondition(t *testing.T) {
	policy := condition.DefaultPolicy()
	node := kube.NewPublisher(nil, "", policy, kube.Hooks{})
	now := time.Now()
	for range policy.LeavePasses + 1 {
		now = now.Add(time.Minute)
		node.Update([]condition.Evaluation{
			{Type: policy.Types[0], Severity: condition.Unknown, At: now},
			{Type: policy.Types[1], Severity: condition.Clear, At: now},
		}, now)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(NewNode(node, nil, func() kube.DemandStats { return kube.DemandStats{} }))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"nodetune_condition_unknown " + string(policy.Types[0]): 1,
		"nodetune_condition_unknown " + string(policy.Types[1]): 0,
		"nodetune_condition " + string(policy.Types[1]):         0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (%v), want %v", name, v, ok, want)
		}
	}
	if v, ok := got["nodetune_condition "+string(policy.Types[0])]; ok {
		t.Errorf("a condition that is Unknown is sent as %v", v)
	}
}
