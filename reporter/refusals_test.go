package reporter

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

func TestRefusedText(t *testing.T) {
	var got strings.Builder
	for _, f := range reportertest.RefusedOfEachKind {
		fmt.Fprintln(&got, RefusedText(f))
	}
	const want = `fluent-bit[7] of logging/fb:fluent-bit 3 times inotify_init1: EMFILE, fs.inotify.max_user_instances of uid 0, 128 of 128
a\nb[8] 1 time inotify_init1: EMFILE, user.max_inotify_instances of uid 1000 in user namespace 5, 3 of 3
tail[9] of tail.service 2 times inotify_init1: EMFILE, its own RLIMIT_NOFILE, 40 of 40
fluent-bit[7] 9 times inotify_add_watch: ENOSPC, fs.inotify.max_user_watches of uid 0, 8192 of 8192
x[7] 1 time inotify_init1: ENFILE, fs.file-max of the node
x[7] 1 time inotify_add_watch: ENOMEM, memory of the kernel or of its cgroup
[7] 1 time inotify_init1: EMFILE, fs.inotify.max_user_instances or its own RLIMIT_NOFILE
x[7] 1 time inotify_add_watch: ENOENT, which is no limit
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// A pod's refusal is told to the pod, others' to the Node, and none that is no
// limit's. Equal ones are equal: no number that changes is in them.
func TestRefusedEvents(t *testing.T) {
	e := &Events{host: "node1"}
	for i, f := range reportertest.RefusedOfEachKind {
		ev, ok := e.RefusedEvent(f, true)
		if ok != (f.Resource != "") {
			t.Errorf("%+v: told %v", f, ok)
		}
		if !ok {
			continue
		}
		if kind := ev.Object.Kind; (kind == "Pod") != (f.Pod != "") || i == 0 && (ev.Object.Name != "fb" || ev.Object.Namespace != "logging") {
			t.Errorf("on %+v", ev.Object)
		}
		if onNode, _ := e.RefusedEvent(f, false); onNode.Object.Kind != "Node" || !strings.Contains(onNode.Message, workload.Name(f.Namespace, f.Pod, f.Container, f.Unit)) {
			t.Errorf("not on the Node: %+v", onNode)
		}
		f.Count, f.PID, f.Used = f.Count+1, f.PID+1, f.Used-1
		if again, _ := e.RefusedEvent(f, true); again != ev {
			t.Errorf("another Event for the same: %+v, %+v", ev, again)
		}
		t.Log(ev.Message)
	}
}

// However many programs are refused, 20 are in a scrape, and those are not
// forgotten that are refused most.
func TestRefusalsCount(t *testing.T) {
	c := NewRefusals()
	for _, f := range reportertest.RefusedOfEachKind {
		c.Count(f)
		c.Count(f)
	}
	for i := range 2000 {
		c.Count(inotify.Refusal{Call: inotify.CallInit, Errno: 24, Resource: inotify.NOFILE, Comm: fmt.Sprint(i), Count: 1})
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
		t.Errorf("%d consumers are told, want %d", n, topSeries)
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
	if n := len(c.consumers); n > refusedConsumers {
		t.Errorf("%d consumers are remembered", n)
	}
	for k, want := range map[refusedConsumer]int64{
		{"logging", "fb", "fluent-bit", "fluent-bit", "inotify_instances"}: 6,
		{"", "", "", "fluent-bit", "inotify_watches"}:                      18,
	} {
		if got := c.consumers[k]; got != want {
			t.Errorf("%+v: %d, want %d", k, got, want)
		}
	}
}
