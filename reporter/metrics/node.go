package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/reporter/kube"
)

var (
	conditionDesc = desc("nodetune_condition",
		"1 if the condition is True, 0 if it is False; left out while it is Unknown. The same that the Node shows, without an API server.", "type")
	conditionUnknownDesc = desc("nodetune_condition_unknown",
		"1 while the condition is Unknown: nodetune cannot see what it evaluates, which is not healthy. 0 while it is True or False.", "type")
	otherManagerDesc = desc("nodetune_condition_foreign",
		"1 for a condition that another program publishes on this Node, so that nodetune does not.", "type")
	conditionWritesDesc = desc("nodetune_condition_writes_total",
		"Writes to the Node, by result; skipped is a pass that left nothing to write.", "result")
	eventsDesc = desc("nodetune_events_total",
		"Events written for the API server, by result; dropped is one too many at a time.", "result")
)

var (
	podFloorDesc = desc("nodetune_pod_floor",
		"What the pods of this node ask for, up to the ceiling of each key.", "key")
	podDemandsDesc = desc("nodetune_pod_demands",
		"Pods of this node that ask for settings, by result: accepted, or the reason why a part of it is not (DemandInvalid, DemandNotAllowed, DemandOverCeiling).", "result")
)

// nodeMetrics collects what a Node and Events count.
type nodeMetrics struct {
	node   *kube.Publisher
	events *kube.Events // nil without an API server
	pods   func() kube.DemandStats
}

// NewNode returns the metrics of what is written to the API server and of what
// the pods ask for; events may be nil.
func NewNode(node *kube.Publisher, events *kube.Events, pods func() kube.DemandStats) prometheus.Collector {
	return nodeMetrics{node, events, pods}
}

func (m nodeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{conditionDesc, conditionUnknownDesc, otherManagerDesc, conditionWritesDesc, eventsDesc, podFloorDesc, podDemandsDesc} {
		ch <- d
	}
}

func (m nodeMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.node.Conditions() {
		gauge(ch, conditionUnknownDesc, boolToFloat(c.Status == corev1.ConditionUnknown), string(c.Type))
		if c.Status != corev1.ConditionUnknown {
			gauge(ch, conditionDesc, boolToFloat(c.Status == corev1.ConditionTrue), string(c.Type))
		}
	}
	if m.events == nil {
		return
	}
	s := m.node.Stats()
	for t := range s.Foreign {
		gauge(ch, otherManagerDesc, 1, string(t))
	}
	counter(ch, conditionWritesDesc, float64(s.Succeeded), "success")
	counter(ch, conditionWritesDesc, float64(s.Failed), "error")
	counter(ch, conditionWritesDesc, float64(s.Skipped), "skipped")
	e := m.events.Stats()
	counter(ch, eventsDesc, float64(e.Succeeded), "success")
	counter(ch, eventsDesc, float64(e.Failed), "error")
	counter(ch, eventsDesc, float64(e.Dropped), "dropped")
	d := m.pods()
	for _, f := range d.Floors {
		gauge(ch, podFloorDesc, float64(f.Want), string(f.Key))
	}
	for result, n := range d.Pods {
		gauge(ch, podDemandsDesc, float64(n), result)
	}
}
