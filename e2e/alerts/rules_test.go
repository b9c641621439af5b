// Package alerts_test tests what users of Prometheus and Grafana get: the rules, the
// runbooks behind them and the dashboards. It needs no cluster.
package alerts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/nodetune/nodetune/internal/goldentest"
)

const (
	deploy    = "../../deploy"
	rulesFile = deploy + "/chart/files/rules.yaml"
)

type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

// rules are those of the chart's file, in order.
func rules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal([]byte(read(t, rulesFile)), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%s has %d rules", rulesFile, len(all))
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compare reports an error if the file does not contain want, or writes it with
// UPDATE_GOLDEN=1.
func compare(t *testing.T, name, want string) {
	t.Helper()
	if goldentest.Updating() {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if read(t, name) != want {
		t.Errorf("%s is out of date: run the test with %s=1", name, goldentest.Env)
	}
}

// The operators' objects have the rules of the chart, line by line.
func TestComponentsHaveTheRules(t *testing.T) {
	_, groups, ok := strings.Cut(read(t, rulesFile), "groups:\n")
	if !ok {
		t.Fatalf("%s has no groups", rulesFile)
	}
	for file, kind := range map[string]string{
		"prometheus-operator/prometheusrule.yaml": "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\n",
		"victoria-metrics/vmrule.yaml":            "apiVersion: operator.victoriametrics.com/v1beta1\nkind: VMRule\n",
	} {
		want := kind + "metadata:\n  name: nodetune\n  namespace: nodetune\nspec:\n  groups:\n" + indent(groups, "  ")
		compare(t, filepath.Join(deploy, "components", file), want)
	}
}

func indent(text, by string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString(by)
		}
		b.WriteString(line)
	}
	return b.String()
}

// threshold matches a number that the chart can replace, and its name.
var threshold = regexp.MustCompile(`(?m)([0-9.]+) # ([A-Za-z]+)$`)

// The chart accepts each threshold of the rules, and no other.
func TestThresholds(t *testing.T) {
	inRules := map[string]string{}
	for _, m := range threshold.FindAllStringSubmatch(read(t, rulesFile), -1) {
		if value, ok := inRules[m[2]]; ok && value != m[1] {
			t.Errorf("the threshold %s is %s and %s", m[2], value, m[1])
		}
		inRules[m[2]] = m[1]
	}
	if len(inRules) < 10 {
		t.Fatalf("only %v found", inRules)
	}
	type object struct{ Properties map[string]object }
	var schema object
	if err := yaml.Unmarshal([]byte(read(t, deploy+"/chart/values.schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	accepted := schema.Properties["metrics"].Properties["prometheusRule"].Properties["thresholds"].Properties
	for name := range inRules {
		if _, ok := accepted[name]; !ok {
			t.Errorf("values.schema.json lacks the threshold %s", name)
		}
	}
	for name := range accepted {
		if _, ok := inRules[name]; !ok {
			t.Errorf("values.schema.json has the threshold %s, which is in no rule", name)
		}
	}
}

// The chart adds its selector inside the braces of each series of nodetune, and of
// kube-state-metrics.
func TestSeriesHaveBraces(t *testing.T) {
	series := regexp.MustCompile(`(^|[^:a-z_"])((?:nodetune|kube)_[a-z_]+)(.?)`)
	n := 0
	for _, r := range rules(t) {
		for _, m := range series.FindAllStringSubmatch(r.Expr, -1) {
			n++
			if m[3] != "{" {
				t.Errorf("%s%s: %s has no braces", r.Record, r.Alert, m[2])
			}
		}
	}
	if n < 40 {
		t.Errorf("only %d series found", n)
	}
}

// Each alert has a severity, a summary, a description and the address of its runbook.
// Of two with one name, one is a warning and one is critical.
func TestAlertsAreComplete(t *testing.T) {
	severities := map[string][]string{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		severity := r.Labels["severity"]
		if !slices.Contains([]string{"warning", "critical"}, severity) || slices.Contains(severities[r.Alert], severity) {
			t.Errorf("%s has the severity %q twice, or an unknown one", r.Alert, severity)
		}
		severities[r.Alert] = append(severities[r.Alert], severity)
		if want := "https://github.com/nodetune/nodetune/blob/main/docs/runbooks/" + r.Alert + ".md"; r.Annotations["runbook_url"] != want {
			t.Errorf("%s has the runbook_url %s", r.Alert, r.Annotations["runbook_url"])
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a summary or a description", r.Alert)
		}
	}
	if len(severities) < 25 {
		t.Errorf("%d alerts", len(severities))
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %q: %v\n%s", args, err, out)
	}
}

// Conditions and absence are tested in rules_test.yaml, the others in TestEachAlert.
func TestRules(t *testing.T) {
	promtool(t, "check", "rules", rulesFile)
	promtool(t, "test", "rules", deploy+"/prometheus/rules_test.yaml")
}

// Each condition has an alert.
func TestConditionsHaveAlerts(t *testing.T) {
	var alerts []string
	for _, r := range rules(t) {
		alerts = append(alerts, r.Alert)
	}
	for _, c := range conditions(t) {
		if !slices.Contains(alerts, "Nodetune"+c) {
			t.Errorf("no alert for the condition %s", c)
		}
	}
	unknown := slices.IndexFunc(rules(t), func(r rule) bool { return r.Alert == "NodetuneConditionUnknown" })
	if want := strings.Join(conditions(t), "|"); unknown < 0 || !strings.Contains(rules(t)[unknown].Expr, `condition=~"`+want+`"`) {
		t.Errorf("NodetuneConditionUnknown does not read the conditions %s", want)
	}
}

// conditions are the types in the configuration that is built in.
func conditions(t *testing.T) []string {
	t.Helper()
	var config struct {
		Reporter struct{ Conditions struct{ Types []string } }
	}
	if err := yaml.Unmarshal([]byte(read(t, "../../cmd/nodetune/internal/config/default.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Reporter.Conditions.Types) == 0 {
		t.Fatal("the built-in configuration names no conditions")
	}
	return config.Reporter.Conditions.Types
}

// Every metric in the rules and the dashboards is one that nodetune publishes, or that
// a rule records.
func TestMetricsExist(t *testing.T) {
	table := read(t, "../../docs/metrics.md")
	recorded := map[string]bool{}
	for _, r := range rules(t) {
		recorded[r.Record] = r.Record != ""
	}
	files, err := filepath.Glob(dashboardFiles)
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, rulesFile)
	n := 0
	for _, file := range files {
		for _, name := range regexp.MustCompile(`\b([a-z]+:)?nodetune_[a-z_]+(:[a-z0-9_]+)?`).FindAllString(read(t, file), -1) {
			n++
			if !recorded[name] && !strings.Contains(table, "| `"+name+"` |") {
				t.Errorf("%s reads %s, which nodetune does not publish and no rule records", filepath.Base(file), name)
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d metrics found", n)
	}
}
