package alerts_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// scenario is one alert, with the series that make it fire. Each is played on several
// nodes, a sample a minute:
//
//	a: healthy, then in trouble, then healthy again: fires, and resolves
//	b: in trouble for less than the alert's for: does not fire
//	h: healthy, which is just below the threshold: does not fire
//	r: as a, and the agent restarts in the middle of the trouble: fires, once
//	u: dies in trouble, and is not Ready: does not fire
//
// Two kube-state-metrics report the state of each node.
type scenario struct {
	alert, severity string
	series          []series
	labels          map[string]string // of the alert, beside node
	pending         int               // minutes from the trouble to the first pending sample
	window          int               // minutes that the alert looks back: it resolves that much later
	only            string            // the nodes of it, where not all five mean something
}

// series is one of an agent. At each minute it has the value of healthy or of trouble.
type series struct {
	name   string
	labels map[string]string
	values func(trouble bool, minute int) string
}

const begin = 5 // the minute in which the trouble begins

// gauge has one value in trouble, and another without.
func gauge(name string, trouble, healthy float64, labels ...string) series {
	return series{name, pairs(labels), func(bad bool, _ int) string {
		if bad {
			return fmt.Sprint(trouble)
		}
		return fmt.Sprint(healthy)
	}}
}

func constant(name string, value float64, labels ...string) series {
	return gauge(name, value, value, labels...)
}

// counter grows by so much a minute.
func counter(name string, trouble, healthy float64, labels ...string) series {
	total := 0.0
	return series{name, pairs(labels), func(bad bool, minute int) string {
		switch {
		case minute == 0: // the first sample of a process
			total = 0
		case bad:
			total += trouble
		default:
			total += healthy
		}
		return fmt.Sprint(total)
	}}
}

// ramp grows by the step each minute of trouble.
func ramp(name string, from, step float64, labels ...string) series {
	return series{name, pairs(labels), func(bad bool, minute int) string {
		if !bad {
			return fmt.Sprint(from / 2)
		}
		return fmt.Sprint(from + step*float64(minute))
	}}
}

// born does not exist before the trouble, and keeps its value after it.
func born(name string, value float64, labels ...string) series {
	exists := false
	return series{name, pairs(labels), func(bad bool, minute int) string {
		exists = bad || exists && minute > 0
		if !exists {
			return "_"
		}
		return fmt.Sprint(value)
	}}
}

// clock is a time, in seconds, that does not go on during the trouble.
func clock(name string, labels ...string) series {
	last := 0
	return series{name, pairs(labels), func(bad bool, minute int) string {
		if !bad {
			last = 60 * minute
		}
		return fmt.Sprint(last)
	}}
}

func pairs(all []string) map[string]string {
	labels := map[string]string{}
	for i := 0; i+1 < len(all); i += 2 {
		labels[all[i]] = all[i+1]
	}
	return labels
}

// ofPod are the labels of a container of the shop.
func ofPod(pod string, more ...string) []string {
	return append([]string{"namespace", "shop", "pod", pod, "container", "app"}, more...)
}

func key(k string) map[string]string { return map[string]string{"key": "fs.inotify.max_user_" + k} }

// written are three containers, of which the first writes so much a minute.
func written(trouble, healthy float64) []series {
	const name = "nodetune_log_written_bytes_total"
	return []series{
		counter(name, trouble, healthy, ofPod("cart-1", "kind", "container")...),
		counter(name, 1e6, 1e6, ofPod("db-0", "kind", "container")...),
		counter(name, 1e6, 1e6, ofPod("web-1", "kind", "container")...),
	}
}

func use(resource string, trouble, healthy float64) []series {
	owner := []string{"userns", "4026531837", "uid", "0"}
	return []series{
		gauge("nodetune_inotify_"+resource, trouble, healthy, owner...),
		constant("nodetune_inotify_"+resource+"_limit", 1000, owner...),
		constant("nodetune_sysctl_value", 1000, "key", "fs.inotify.max_user_"+resource),
	}
}

func scenarios() []scenario {
	fds := func(open, before float64) []series {
		return []series{
			gauge("nodetune_process_open_fds", open, before, ofPod("cart-1", "comm", "java")...),
			constant("nodetune_process_max_fds", 1000, ofPod("cart-1", "comm", "java")...),
		}
	}
	java := pairs(ofPod("cart-1", "comm", "java"))
	growing := func(resource string, more ...string) []series {
		return []series{ramp("nodetune_"+resource, 51, 1, more...), constant("nodetune_"+resource+"_limit", 100, more...)}
	}
	owner := []string{"userns", "4026531837", "uid", "0"}
	loss := func(trouble float64) []series {
		return []series{
			counter("nodetune_disk_unread_lost_bytes_total", trouble, 0, "namespace", "", "pod", "", "container", ""),
			counter("nodetune_log_read_bytes_total", 1e6, 1e6, ofPod("cart-1")...),
		}
	}
	late := []series{clock("nodetune_pass_last_end_timestamp_seconds", "task", "disk"), constant("nodetune_pass_interval_seconds", 60, "task", "disk")}
	disk := map[string]string{"task": "disk"}
	return []scenario{
		{alert: "NodetuneInotifyPressure", severity: "critical", series: use("instances", 950, 949)},
		{alert: "NodetuneInotifyPressure", severity: "critical", series: use("watches", 950, 949)},
		{alert: "NodetuneInotifyAtCeiling", severity: "warning", series: use("instances", 801, 800), labels: key("instances")},
		{alert: "NodetuneInotifyAtCeiling", severity: "warning", series: use("watches", 801, 800), labels: key("watches")},
		{alert: "NodetuneFileDescriptorPressure", severity: "warning", series: []series{gauge("nodetune_open_files", 700, 699), constant("nodetune_open_files_limit", 1000)}},
		{alert: "NodetuneLimitExhaustionForecast", severity: "warning", series: growing("inotify_instances", owner...), labels: map[string]string{"resource": "inotify_instances"}, pending: 5, only: "ah"},
		{alert: "NodetuneLimitExhaustionForecast", severity: "warning", series: growing("inotify_watches", owner...), labels: map[string]string{"resource": "inotify_watches"}, pending: 5, only: "ah"},
		{alert: "NodetuneLimitExhaustionForecast", severity: "warning", series: growing("open_files"), labels: map[string]string{"resource": "open_files"}, pending: 5, only: "ah"},
		{alert: "NodetuneProcessNearFileLimit", severity: "warning", series: fds(850, 849), labels: java},
		{alert: "NodetuneProcessNearFileLimit", severity: "critical", series: fds(980, 979), labels: java},
		{alert: "NodetuneInotifyCallsFailing", severity: "warning", series: []series{counter("nodetune_inotify_refusals_total", 1, 0, "call", "inotify_init1", "errno", "EMFILE", "resource", "inotify_instances")}, labels: map[string]string{"resource": "inotify_instances"}, pending: 1, window: 11, only: "ahr"},
		{alert: "NodetuneInotifyCallsFailing", severity: "critical", series: []series{counter("nodetune_inotify_refusals_total", 40, 9, "call", "inotify_init1", "errno", "EMFILE", "resource", "inotify_instances")}, labels: map[string]string{"resource": "inotify_instances"}, pending: 6, window: 11, only: "ahr"},
		{alert: "NodetuneSysctlContested", severity: "warning", series: []series{gauge("nodetune_sysctl_contested", 1, 0, "key", "fs.inotify.max_user_watches")}, labels: key("watches")},
		{alert: "NodetuneSysctlLoweredByOther", severity: "warning", series: []series{counter("nodetune_sysctl_drift_total", 1, 0, "key", "fs.inotify.max_user_watches", "direction", "lowered")}, labels: key("watches"), pending: 1, window: 61, only: "ahr"},
		{alert: "NodetuneSysctlLoweredByOther", severity: "warning", series: []series{
			constant("nodetune_sysctl_drift_total", 0, "key", "fs.inotify.max_user_watches", "direction", "lowered"),
			counter("nodetune_sysctl_writes_observed_total", 1, 0, "key", "fs.inotify.max_user_watches", "direction", "lowered"),
		}, labels: key("watches"), pending: 1, window: 61, only: "ahr"},
		{alert: "NodetuneEvictionForecast", severity: "warning", series: []series{gauge("nodetune_disk_time_to_eviction_seconds", 3599, 3600, "path", "/")}, labels: map[string]string{"path": "/"}},
		{alert: "NodetuneEvictionForecast", severity: "critical", series: []series{gauge("nodetune_disk_time_to_eviction_seconds", 899, 900, "path", "/")}, labels: map[string]string{"path": "/"}},
		{alert: "NodetuneLogStorm", severity: "warning", series: written(130e6, 62e6), labels: pairs(ofPod("cart-1", "kind", "container")), pending: 10, window: 10},
		// A node on which all write as much has no storm.
		{alert: "NodetuneLogStorm", severity: "warning", series: append(written(130e6, 62e6)[:1], counter("nodetune_log_written_bytes_total", 120e6, 120e6, ofPod("db-0", "kind", "container")...)), pending: 10, only: "x"},
		{alert: "NodetuneFilesystemReadOnly", severity: "critical", series: []series{gauge("nodetune_disk_read_only", 1, 0, "path", "/var/log")}, labels: map[string]string{"path": "/var/log"}},
		{alert: "NodetuneFilesystemHung", severity: "critical", series: []series{gauge("nodetune_disk_usable", 0, 1, "path", "/var/log")}, labels: map[string]string{"path": "/var/log"}},
		{alert: "NodetuneActsFailing", severity: "warning", series: []series{counter("nodetune_disk_acts_total", 1, 0, "act", "rotate", "result", "error")}, labels: map[string]string{"act": "rotate"}, pending: 1, window: 31, only: "ahr"},
		{alert: "NodetuneCorruptArchive", severity: "warning", series: []series{gauge("nodetune_log_corrupt_archives", 1, 0)}},
		{alert: "NodetuneReaderPredictedLoss", severity: "warning", series: []series{gauge("nodetune_log_predicted_loss_bytes", 1048577, 1048576)}},
		{alert: "NodetuneReaderPredictedLoss", severity: "critical", series: []series{gauge("nodetune_log_predicted_loss_bytes", 104857601, 104857600)}},
		{alert: "NodetuneUnreadLinesLost", severity: "warning", series: []series{born("nodetune_disk_unread_lost_bytes_total", 500, ofPod("cart-1")...)}, labels: pairs(ofPod("cart-1")), window: 61, only: "ar"},
		{alert: "NodetuneUnreadLinesLost", severity: "warning", series: []series{counter("nodetune_disk_unread_lost_bytes_total", 10, 0, "namespace", "", "pod", "", "container", "")}, pending: 1, window: 61, only: "ahr"},
		// A cause is not a series of its own.
		{alert: "NodetuneUnreadLinesLost", severity: "warning", series: []series{
			born("nodetune_disk_unread_lost_bytes_total", 500, ofPod("cart-1", "cause", "eviction")...),
			born("nodetune_disk_unread_lost_bytes_total", 500, ofPod("cart-1", "cause", "reclaim")...),
		}, labels: pairs(ofPod("cart-1")), window: 61, only: "ar"},
		{alert: "NodetuneLogLossBudgetBurn", severity: "critical", series: loss(15000), pending: 6, window: 60, only: "c"},
		{alert: "NodetuneLogLossBudgetBurn", severity: "warning", series: loss(5000), pending: 12, window: 180, only: "c"},
		{alert: "NodetunePauseForgotten", severity: "warning", series: []series{gauge("nodetune_paused", 1, 0)}},
		// A restarted agent has a new clock.
		{alert: "NodetunePassStuck", severity: "warning", series: late, labels: disk, pending: 4, only: "ahbu"},
		{alert: "NodetunePassStuck", severity: "critical", series: late, labels: disk, pending: 16, only: "ahbu"},
		{alert: "NodetunePassStuck", severity: "warning", series: []series{
			gauge("nodetune_pass_running_seconds", 211, 210, "task", "disk"), constant("nodetune_pass_interval_seconds", 60, "task", "disk"),
		}, labels: disk},
		{alert: "NodetunePassesFailing", severity: "warning", series: []series{
			counter("nodetune_passes_total", 1, 0, "task", "disk", "result", "error"), counter("nodetune_passes_total", 0, 1, "task", "disk", "result", "success"),
		}, labels: disk, pending: 15, window: 15, only: "ahr"},
		{alert: "NodetuneConditionUnknown", severity: "warning", series: []series{gauge("nodetune_condition_unknown", 1, 0, "type", "LogDiskPressure")}, labels: map[string]string{"type": "LogDiskPressure"}},
		{alert: "NodetuneAPIWritesFailing", severity: "warning", series: []series{counter("nodetune_condition_writes_total", 1, 0, "result", "error")}, pending: 1, window: 11, only: "ahr"},
		{alert: "NodetuneAPIWritesFailing", severity: "warning", series: []series{
			constant("nodetune_condition_writes_total", 0, "result", "error"), counter("nodetune_events_total", 1, 0, "result", "error"),
		}, pending: 1, window: 11, only: "ahr"},
		{alert: "NodetuneKernelCountersLost", severity: "warning", series: []series{gauge("nodetune_inotify_kernel_counters", 0, 1)}},
		{alert: "NodetuneKernelCountersLost", severity: "warning", series: []series{gauge("nodetune_inotify_kernel_holders", 0, 1)}},
		{alert: "NodetuneNodePolicyNotEnforced", severity: "warning", series: []series{gauge("nodetune_node_policy_enforced", 0, 1)}},
	}
}

type input struct {
	Series string `json:"series"`
	Values string `json:"values"`
}

// play returns the samples of all nodes of s, for the given minutes of trouble.
func (s scenario) play(hold, trouble, end int) []input {
	var all []input
	add := func(node, instance string, from, to int, bad func(minute int) bool) {
		for _, one := range s.series {
			labels := map[string]string{"job": "nodetune", "node": node, "instance": instance, "namespace": "nodetune", "pod": "nodetune-" + instance}
			maps.Copy(labels, one.labels)
			var b []string
			for minute := range end + 1 {
				switch {
				case minute < from:
					b = append(b, "_")
				case minute == to:
					b = append(b, "stale")
				case minute < to:
					b = append(b, one.values(bad(minute), minute-from))
				}
			}
			all = append(all, input{one.name + matchers(labels), strings.Join(b, " ")})
		}
	}
	never := end + 2
	during := func(n int) func(int) bool { return func(m int) bool { return m >= begin && m < begin+n } }
	middle := begin + max(2, (s.pending+hold)/2)
	for _, node := range s.nodes(hold) {
		switch node {
		case 'a', 'c', 'x':
			add(string(node), "1", 0, never, during(trouble))
		case 'h':
			add("h", "1", 0, never, during(0))
		case 'b':
			add("b", "1", 0, never, during(hold-1))
		case 'r':
			add("r", "1", 0, middle, during(trouble))
			add("r", "2", middle, never, during(trouble))
		case 'u':
			add("u", "1", 0, begin+hold/2, during(trouble))
		}
		for _, ksm := range []string{"1", "2"} {
			ready := "1"
			if node == 'u' {
				ready = "0"
			}
			all = append(all, input{"kube_node_status_condition" + matchers(map[string]string{"instance": "ksm-" + ksm, "node": string(node), "condition": "Ready", "status": "true"}), ready + "x" + fmt.Sprint(end)})
		}
	}
	return all
}

// nodes are those that s is played on.
func (s scenario) nodes(hold int) string {
	switch {
	case s.only != "":
		return s.only
	case hold == 0:
		return "ahr"
	}
	return "abhru"
}

func matchers(labels map[string]string) string {
	var b []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		b = append(b, fmt.Sprintf("%s=%q", k, labels[k]))
	}
	return "{" + strings.Join(b, ",") + "}"
}

// firing is the alert of a node.
func (s scenario) firing(node rune) map[string]any {
	labels := map[string]string{"alertname": s.alert, "alertstate": "firing", "severity": s.severity}
	if node != 'c' { // of the whole cluster
		labels["node"] = string(node)
	}
	maps.Copy(labels, s.labels)
	return map[string]any{"labels": "ALERTS" + matchers(labels), "value": 1}
}

// test is the scenario in the form of promtool.
func (s scenario) test(hold int) map[string]any {
	trouble := s.pending + hold + 6
	resolved := begin + trouble + s.window + 2
	fires := []any{}
	for _, node := range s.nodes(hold) {
		if strings.ContainsRune("arc", node) {
			fires = append(fires, s.firing(node))
		}
	}
	expr := fmt.Sprintf("ALERTS{alertname=%q,severity=%q,alertstate=\"firing\"}", s.alert, s.severity)
	at := func(minute int, want []any) map[string]any {
		return map[string]any{"expr": expr, "eval_time": fmt.Sprintf("%dm", minute), "exp_samples": want}
	}
	checks := []any{at(begin+s.pending+hold+3, fires), at(resolved, []any{})}
	if before := begin + hold - 1; hold > 0 {
		checks = append(checks, at(before, []any{}))
	}
	return map[string]any{"name": s.alert + " " + s.severity, "interval": "1m", "input_series": s.play(hold, trouble, resolved), "promql_expr_test": checks}
}

// Each alert fires, does not fire, and resolves.
func TestEachAlert(t *testing.T) {
	holds := map[[2]string]int{}
	tested := map[[2]string]bool{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		hold := time.Duration(0)
		if r.For != "" {
			var err error
			if hold, err = time.ParseDuration(r.For); err != nil {
				t.Fatal(err)
			}
		}
		holds[[2]string{r.Alert, r.Labels["severity"]}] = int(hold.Minutes())
	}
	var tests []any
	for _, s := range scenarios() {
		id := [2]string{s.alert, s.severity}
		hold, ok := holds[id]
		if !ok {
			t.Fatalf("no alert is called %s", id)
		}
		tested[id] = true
		tests = append(tests, s.test(hold))
	}
	byHand := read(t, deploy+"/prometheus/rules_test.yaml")
	for id := range holds {
		if !tested[id] && !strings.Contains(byHand, fmt.Sprintf("alertname=%q,alertstate=\"firing\",node=\"a\",severity=%q", id[0], id[1])) {
			t.Errorf("no test for the alert %s", id)
		}
	}
	abs, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]any{"rule_files": []string{abs}, "evaluation_interval": "1m", "group_eval_order": []string{"nodetune.rules", "nodetune"}, "tests": tests})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "tests.yaml") // YAML contains JSON
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "test", "rules", name)
}
