package metrics

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/disk/ledger"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/kube"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

// ofWorkloads are the counters whose labels are not known before: a workload, or a program,
// of which none counts yet. The sums of the same things without these labels begin at 0.
var ofWorkloads = map[string]string{
	"nodetune_inotify_consumer_refusals_total": "nodetune_inotify_refusals_total",
	"nodetune_log_written_bytes_total":         "a producer's begins with what its logs hold",
}

// Every counter with known labels is there with 0 before anything happens: an increase from
// nothing to 1 is none for Prometheus, and the first event is the one that matters.
func TestCountersBeginAtZero(t *testing.T) {
	managed := sysctl.MaxUserInstances
	m := NewExporter(func() reporter.Snapshot { return reporter.Snapshot{} }, func() []health.Pass { return []health.Pass{{Task: "disk"}} }, Build{})
	m.CountSysctl(sysctl.PassResult{}, sysctl.PassResult{Rules: []sysctl.Status{{Rule: sysctl.Rule{Key: managed, Op: sysctl.AtLeast, Want: 1}, Before: 1, Value: 1, Outcome: sysctl.InForce}}})
	events := kube.NewEvents(func(string) kube.EventClient { return nil }, "n", func() types.UID { return "" }, nil, func(string, error) {})
	m.Register(NewNode(kube.NewPublisher(nil, "n", condition.DefaultPolicy(), kube.Hooks{}), events, func() kube.DemandStats { return kube.DemandStats{} }))
	m.Register(NewDiskActions())
	m.Register(NewSyscallFailures())
	m.Register(NewNOFILERaises())
	m.Register(NewGuard(func() (sysctl.GuardMode, []SysctlWrites) { return sysctl.GuardModes[0], []SysctlWrites{{Key: managed}} }))
	m.Register(NewRefused(func() (connections, requests uint64) { return 0, 0 }))

	want := map[string][]string{}
	add := func(family string, labels ...string) {
		var pairs []string
		for i := 0; i < len(labels); i += 2 {
			pairs = append(pairs, fmt.Sprintf("%s=%q", labels[i], labels[i+1]))
		}
		slices.Sort(pairs)
		want[family] = append(want[family], strings.Join(pairs, ","))
	}
	key := string(managed)
	for _, result := range []string{"success", "error"} {
		add("nodetune_sysctl_writes_total", "key", key, "result", result)
		add("nodetune_nofile_raises_total", "result", result)
		add("nodetune_passes_total", "task", "disk", "result", result)
		add("nodetune_condition_writes_total", "result", result)
		add("nodetune_events_total", "result", result)
	}
	add("nodetune_condition_writes_total", "result", "skipped")
	add("nodetune_events_total", "result", "dropped")
	add("nodetune_web_refused_total", "kind", "connection")
	add("nodetune_web_refused_total", "kind", "request")
	for _, direction := range []string{"lowered", "raised"} {
		add("nodetune_sysctl_drift_total", "key", key, "direction", direction)
	}
	for _, direction := range []string{"lowered", "raised", "unchanged", "unread"} {
		add("nodetune_sysctl_writes_observed_total", "key", key, "direction", direction)
	}
	add("nodetune_sysctl_writes_held_total", "key", key)
	for _, act := range []string{logdir.ActionRotate, logdir.ActionCompress, logdir.ActionRemove, logdir.ActionRepair, logdir.ActionPunch} {
		add("nodetune_disk_acts_total", "act", act, "result", "done")
		add("nodetune_disk_acts_total", "act", act, "result", "error")
		add("nodetune_disk_act_bytes_total", "act", act)
	}
	add("nodetune_disk_acts_total", "act", logdir.ActionSkip, "result", "refused")
	for _, cause := range ledger.Causes {
		add("nodetune_disk_unread_lost_bytes_total", "namespace", "", "pod", "", "container", "", "cause", string(cause))
	}
	add("nodetune_log_read_bytes_total", "namespace", "", "pod", "", "container", "")
	for _, r := range []struct {
		call     string
		errno    int
		resource inotify.Resource
	}{
		{"inotify_init1", 24, inotify.Instances},
		{"inotify_init1", 24, inotify.NOFILE},
		{"inotify_init1", 24, inotify.InstancesOrNOFILE},
		{"inotify_init1", 23, inotify.OpenFiles},
		{"inotify_add_watch", 28, inotify.Watches},
	} {
		add("nodetune_inotify_refusals_total", "call", r.call, "errno", text.ErrnoName(r.errno), "resource", string(r.resource))
	}

	got := gathered(t, m)
	for family, all := range want {
		for _, labels := range all {
			if value, ok := got[family][labels]; !ok || value != 0 {
				t.Errorf("%s{%s} is %v (there: %v), want 0", family, labels, value, ok)
			}
		}
	}
	// The table of the documentation has each counter.
	n := 0
	for _, c := range regexp.MustCompile("\\| `(nodetune_[a-z_]+)` \\| counter \\|").FindAllStringSubmatch(metricsTable(t), -1) {
		n++
		if family := c[1]; (len(want[family]) == 0) == (ofWorkloads[family] == "") {
			t.Errorf("%s is in the table of this test and in ofWorkloads, or in none", family)
		}
	}
	if n < 12 {
		t.Errorf("only %d counters found", n)
	}
}

// gathered are the counters, by family and labels.
func gathered(t *testing.T, m *Exporter) map[string]map[string]float64 {
	t.Helper()
	families, err := prometheus.Gatherer(m.registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]float64{}
	for _, f := range families {
		for _, s := range f.Metric {
			if s.Counter == nil {
				continue
			}
			var pairs []string
			for _, l := range s.Label {
				pairs = append(pairs, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(pairs)
			if all[f.GetName()] == nil {
				all[f.GetName()] = map[string]float64{}
			}
			all[f.GetName()][strings.Join(pairs, ",")] = s.Counter.GetValue()
		}
	}
	return all
}
