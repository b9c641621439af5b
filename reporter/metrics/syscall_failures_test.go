package metrics

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

// However many programs are refused, 20 are in a scrape, and those are not
// forgotten that are refused most.
func TestRefusalsCount(t *testing.T) {
	c := NewSyscallFailures()
	for _, f := range reportertest.RefusedOfEachKind {
		c.Count(f)
		c.Count(f)
	}
	for i := range 2000 {
		c.Count(inotify.SyscallFailure{Call: inotify.CallInit, Errno: 24, Resource: inotify.NOFILE, Comm: fmt.Sprint(i), Count: 1})
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("%v: %+v", err, problems)
	}
	shown := map[string]int{}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			shown[f.GetName()]++
			labels := ""
			for _, l := range m.GetLabel() {
				labels += l.GetValue() + " "
			}
			values[labels] = m.GetCounter().GetValue()
		}
	}
	if n := shown["nodetune_inotify_consumer_refusals_total"]; n != topSeries {
		t.Errorf("%d consumers are counted, want %d", n, topSeries)
	}
	for labels, want := range map[string]float64{
		"inotify_add_watch ENOENT  ":                2,
		"inotify_add_watch ENOSPC inotify_watches ": 18,
		"inotify_init1 EMFILE inotify_instances ":   8,
		"inotify_init1 EMFILE nofile ":              2004,
		"inotify_init1 ENFILE open_files ":          2,
	} {
		if values[labels] != want {
			t.Errorf("%q: %v, want %v", labels, values[labels], want)
		}
	}
	if n := len(c.consumers); n > maxFailingConsumers {
		t.Errorf("%d consumers are remembered", n)
	}
	for k, want := range map[failingConsumer]int64{
		{"logging", "fb", "fluent-bit", "fluent-bit", "inotify_instances"}: 6,
		{"", "", "", "fluent-bit", "inotify_watches"}:                      18,
	} {
		if got := c.consumers[k]; got != want {
			t.Errorf("%+v: %d, want %d", k, got, want)
		}
	}
}
