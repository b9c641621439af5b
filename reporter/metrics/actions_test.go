package metrics

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/disk/ledger"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/workload"
)

// unreadOf returns the sum of the series of unread by namespace, pod and cause.
func unreadOf(t *testing.T, c *DiskActions) map[[3]string]float64 {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c.unread)
	all, err := reg.Gather()
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	got := map[[3]string]float64{}
	for _, m := range all[0].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		got[[3]string{labels["namespace"], labels["pod"], labels["cause"]}] += m.GetCounter().GetValue()
	}
	return got
}

func archiveOf(pod int, ending string) string {
	return fmt.Sprintf("/var/log/pods/shop_web-%d_11111111-2222-3333-4444-555555555555/app/0.log.%s", pod, ending)
}

// What went unread is counted by workload and cause, in a bounded number of series.
func TestUnreadByWorkload(t *testing.T) {
	c := NewDiskActions()
	for i := range 300 {
		for _, ending := range []string{"20260131-120000.gz", "20260131-120000000001"} {
			c.Count(logdir.Action{Verb: logdir.ActionRemove, Unread: 10, Path: archiveOf(i, ending)})
		}
	}
	c.Count(logdir.Action{Verb: logdir.ActionRemove, Unread: 5, Path: "/var/log/app.log.1"})
	got := unreadOf(t, c)
	if n := len(got); n != len(ledger.Causes)+maxWorkloadSeries+1 {
		t.Errorf("%d series", n)
	}
	if got[[3]string{"shop", "web-7", "reclaim"}] != 20 || got[[3]string{"other", "", "reclaim"}] != 200*20 || got[[3]string{"", "", "reclaim"}] != 5 {
		t.Errorf("%v", got)
	}
}

// What a ledger saw is counted by its cause, but not what nodetune removed itself. A pod
// that had no loss for an hour gives its series to another one.
func TestCountLedger(t *testing.T) {
	c := NewDiskActions()
	now := time.Now()
	loss := func(pod int, ending string, cause ledger.Cause) ledger.Loss {
		return ledger.Loss{Workload: workload.Workload{Namespace: "shop", Pod: fmt.Sprintf("web-%d", pod), PodUID: "1", Container: "app"}, Path: archiveOf(pod, ending), Cause: cause, Bytes: 100}
	}
	c.Count(logdir.Action{Verb: logdir.ActionRemove, Unread: 70, Path: archiveOf(1, "20260131-120000.gz")})
	c.CountLedger(ledger.Entries{
		Losses: []ledger.Loss{loss(1, "20260131-120000", ledger.CauseRotation), loss(1, "20260131-130000", ledger.CauseRotation), loss(2, "20260131-120000", ledger.CauseUnknown)},
		Read:   map[workload.Workload]uint64{loss(1, "", "").Workload: 1000},
	}, now)
	got := unreadOf(t, c)
	for k, want := range map[[3]string]float64{
		{"shop", "web-1", "reclaim"}: 70, {"shop", "web-1", "rotation"}: 100, {"shop", "web-2", "unknown"}: 100, {"", "", "rotation"}: 0,
	} {
		if v, ok := got[k]; !ok || v != want {
			t.Errorf("%v: %v, want %v", k, v, want)
		}
	}
	for i := range maxWorkloadSeries {
		c.CountLedger(ledger.Entries{Losses: []ledger.Loss{loss(100+i, "1", ledger.CauseRotation)}}, now.Add(time.Minute))
	}
	if got = unreadOf(t, c); got[[3]string{"other", "", "rotation"}] != 200 {
		t.Errorf("others: %v", got)
	}
	c.CountLedger(ledger.Entries{Losses: []ledger.Loss{loss(999, "1", ledger.CauseRotation)}}, now.Add(61*time.Minute))
	got = unreadOf(t, c)
	_, one := got[[3]string{"shop", "web-1", "rotation"}]
	_, two := got[[3]string{"shop", "web-2", "unknown"}]
	if got[[3]string{"shop", "web-999", "rotation"}] != 100 || one && two {
		t.Errorf("the series of a quiet pod was not given away: %v", got)
	}
}
