package metrics

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/disk/logdir"
)

// What went unread is counted by workload, in a bounded number of series.
func TestUnreadByWorkload(t *testing.T) {
	c := NewDiskActions()
	for i := range 300 {
		for _, ending := range []string{"0.log.20260131-120000.gz", "0.log.20260131-120000000001"} {
			c.Count(logdir.Action{Verb: logdir.ActionRemove, Unread: 10, Path: fmt.Sprintf("/var/log/pods/shop_web-%d_11111111-2222-3333-4444-555555555555/app/%s", i, ending)})
		}
	}
	c.Count(logdir.Action{Verb: logdir.ActionRemove, Unread: 5, Path: "/var/log/app.log.1"})
	reg := prometheus.NewRegistry()
	reg.MustRegister(c.unread)
	all, err := reg.Gather()
	if err != nil || len(all) != 1 || len(all[0].GetMetric()) != maxUnreadSeries+1 {
		t.Fatalf("%v, %v", all, err)
	}
	got := map[string]float64{}
	for _, m := range all[0].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "pod" {
				got[l.GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if got["web-7"] != 20 || got[""] != 200*20+5 {
		t.Errorf("%v", got)
	}
}
