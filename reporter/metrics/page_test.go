package metrics

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/kube"
)

const (
	tableBegin = "<!-- UPDATE_GOLDEN=1 go test ./reporter/... writes this table -->\n"
	tableEnd   = "<!-- end of the table -->\n"
)

// metricsTable is every family that an agent can send.
func metricsTable(t *testing.T) string {
	t.Helper()
	m := NewExporter(func() reporter.Snapshot { return reporter.Snapshot{} }, func() []health.Pass { return nil }, Build{})
	node := NewNode(kube.NewPublisher(nil, "", condition.DefaultPolicy(), kube.Hooks{}), nil, func() kube.DemandStats { return kube.DemandStats{} })
	var rows []string
	for _, c := range []prometheus.Collector{m, m.sysctlWrites, m.sysctlDrift, m.reloadOK, m.reloadTime, node, NewDiskActions(), NewSyscallFailures(), NewNOFILERaises(), NewGuard(nil), NewRefused(nil)} {
		descs := make(chan *prometheus.Desc, 100)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			rows = append(rows, row(t, d))
		}
	}
	rows = append(rows, "| `nodetune_build_info` | gauge | `goversion`, `revision`, `version` | 1, with the version, revision and Go version of the binary. |")
	slices.Sort(rows)
	return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
}

// descText matches the text form of a Desc, which has no getters.
var descText = regexp.MustCompile(`^Desc\{fqName: "([^"]*)", help: "(.*?)", (?:unit: "[^"]*", )?constLabels: \{\}, variableLabels: \{([^}]*)\}\}$`)

func row(t *testing.T, d *prometheus.Desc) string {
	t.Helper()
	p := descText.FindStringSubmatch(d.String())
	if p == nil {
		t.Fatalf("the text form of a Desc changed in client_golang: %s", d)
	}
	kind := "gauge"
	if strings.HasSuffix(p[1], "_total") {
		kind = "counter"
	}
	labels := ""
	if p[3] != "" {
		labels = "`" + strings.Join(strings.Split(p[3], ","), "`, `") + "`"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |", p[1], kind, labels, strings.ReplaceAll(p[2], "|", `\|`))
}

func TestPageListsEveryMetric(t *testing.T) {
	goldentest.CompareSection(t, filepath.Join(goldentest.Root(t), "docs/metrics.md"), tableBegin, tableEnd, metricsTable(t))
}

// What the golden exposition shows is in the table, with its labels.
func TestExpositionIsInTheTable(t *testing.T) {
	table := metricsTable(t)
	for line := range strings.Lines(fullExposition(t)) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			f := strings.Fields(name)
			if !strings.Contains(table, "| `"+f[0]+"` | "+f[1]+" |") {
				t.Errorf("%s, a %s, is not in the table", f[0], f[1])
			}
		}
	}
}
