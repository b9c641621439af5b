package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/sysctl"
)

// Exporter is what Prometheus scrapes: a rendering of the latest Snapshot, the
// progress of the tasks, and counters of what nodetune did. A scrape starts no
// pass and waits for none.
type Exporter struct {
	inotify  inotifySeries
	written  writtenTotals
	snapshot func() reporter.Snapshot
	passes   func() []health.Pass
	registry *prometheus.Registry

	sysctlWrites *prometheus.CounterVec
	sysctlDrift  *prometheus.CounterVec
	reloadOK     prometheus.Gauge
	reloadTime   prometheus.Gauge
}

// Build is what nodetune_build_info shows of the binary.
type Build struct{ Version, Revision, Go string }

// NewExporter returns the metrics over what snapshot and passes return.
func NewExporter(snapshot func() reporter.Snapshot, passes func() []health.Pass, build Build) *Exporter {
	m := &Exporter{
		snapshot: snapshot,
		passes:   passes,
		registry: prometheus.NewRegistry(),
		sysctlWrites: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_sysctl_writes_total",
			Help: "Values that nodetune wrote, by key and by whether the kernel holds them now (success) or not (error).",
		}, []string{"key", "result"}),
		sysctlDrift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_sysctl_drift_total",
			Help: "Changes that another program made between two passes, by key and direction (lowered or raised).",
		}, []string{"key", "direction"}),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "nodetune_config_last_reload_successful",
			Help: "1 if the configuration file holds what is in force, 0 if it was refused and the one before it still is.",
		}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "nodetune_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in force was read, in seconds since the epoch.",
		}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "nodetune_build_info",
		Help:        "1, with the version, revision and Go version of the binary.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "goversion": build.Go},
	})
	info.Set(1)
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m, m.sysctlWrites, m.sysctlDrift, m.reloadOK, m.reloadTime, info)
	return m
}

// Register adds metrics that the caller counts.
func (m *Exporter) Register(c prometheus.Collector) { m.registry.MustRegister(c) }

// Handler serves the metrics as Prometheus text or as OpenMetrics.
func (m *Exporter) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true,
		// zstd would cost megabytes of encoder for some 50 kB of text.
		OfferedCompressions: []promhttp.Compression{promhttp.Identity, promhttp.Gzip},
		// A scraper that hangs must not pile up goroutines and descriptors.
		MaxRequestsInFlight: 8,
		Timeout:             30 * time.Second,
		ErrorHandling:       promhttp.ContinueOnError,
	})
}

// Describe sends every series that Collect may send.
func (m *Exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, all := range [][]*prometheus.Desc{sysctlDescs, inotifyDescs, diskDescs, causeDescs, omittedDescs, passDescs, nodePolicyDescs} {
		for _, d := range all {
			ch <- d
		}
	}
}

// Collect sends the latest Snapshot.
func (m *Exporter) Collect(ch chan<- prometheus.Metric) {
	s := m.snapshot()
	collectSysctl(ch, s.Sysctl, time.Now())
	m.inotify.collect(ch, s.Inotify)
	m.written.collect(ch, s.Disk)
	collectOmitted(ch, s.Omitted())
	collectNodePolicy(ch, s.NodePolicy)
	collectPasses(ch, m.passes(), time.Now())
}

// CountSysctl counts what happened between two passes and in the second one.
func (m *Exporter) CountSysctl(prev, next sysctl.PassResult) {
	for _, d := range sysctl.Drifts(prev, next) {
		m.sysctlDrift.WithLabelValues(string(d.Key), d.Direction()).Inc()
	}
	for _, s := range next.Rules {
		if s.Op != sysctl.Report {
			// An increase from nothing to 1 is none for Prometheus.
			for _, result := range []string{"success", "error"} {
				m.sysctlWrites.WithLabelValues(string(s.Key), result)
			}
			for _, direction := range []string{"lowered", "raised"} {
				m.sysctlDrift.WithLabelValues(string(s.Key), direction)
			}
		}
		switch {
		case s.Changed:
			m.sysctlWrites.WithLabelValues(string(s.Key), "success").Inc()
		case s.Before.Known() && (s.Outcome == sysctl.Refused || s.Outcome == sysctl.Failed):
			m.sysctlWrites.WithLabelValues(string(s.Key), "error").Inc()
		}
	}
}

// Reloaded records whether the configuration file was accepted at now.
func (m *Exporter) Reloaded(ok bool, now time.Time) {
	if !ok {
		m.reloadOK.Set(0)
		return
	}
	m.reloadOK.Set(1)
	m.reloadTime.Set(float64(now.UnixMilli()) / 1000)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func boolToFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
