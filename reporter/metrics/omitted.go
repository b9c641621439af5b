package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

var (
	omitted = desc("nodetune_scan_omitted",
		"What the last pass left out, beyond its budget or because it may not read it, by source (disk or inotify) and kind; absent where nothing was. 'nodetune check' lists it.", "source", "kind")

	omittedDescs = []*prometheus.Desc{omitted}
)

// collectOmitted sends one series for each kind. Kinds are words of nodetune, never
// names that a container chose.
func collectOmitted(ch chan<- prometheus.Metric, all []reporter.Omitted) {
	type series struct{ source, kind string }
	counts := map[series]int{}
	for _, o := range all {
		counts[series{o.Source, strings.ReplaceAll(safetext.String(o.Kind), " ", "_")}] += o.Count
	}
	for s, n := range counts {
		gauge(ch, omitted, float64(n), s.source, s.kind)
	}
}
