package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/disk/logdir"
)

// DiskActions counts what was done to log files.
type DiskActions struct {
	acts, bytes *prometheus.CounterVec
	unread      prometheus.Counter
}

// NewDiskActions returns counters at zero.
func NewDiskActions() *DiskActions {
	c := &DiskActions{
		acts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_disk_acts_total",
			Help: "What was done to log files, by act and result: done, refused (not a file to act upon) or error.",
		}, []string{"act", "result"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_disk_act_bytes_total",
			Help: "Bytes that were moved into an archive (rotate) or given back (remove, compress, punch), by act.",
		}, []string{"act"}),
		unread: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "nodetune_disk_unread_lost_bytes_total",
			Help: "Bytes that went before a reader had them, since the policy said so and nothing else was left.",
		}),
	}
	// An increase from nothing to 1 is none for Prometheus.
	for _, act := range []string{logdir.ActionRotate, logdir.ActionCompress, logdir.ActionRemove, logdir.ActionRepair, logdir.ActionPunch} {
		c.acts.WithLabelValues(act, "done")
		c.acts.WithLabelValues(act, "error")
		c.bytes.WithLabelValues(act)
	}
	c.acts.WithLabelValues(logdir.ActionSkip, "refused")
	return c
}

// Count adds one act.
func (c *DiskActions) Count(a logdir.Action) {
	result := "done"
	switch {
	case a.Verb == logdir.ActionSkip:
		result = "refused"
	case a.Err != nil:
		result = "error"
	default:
		c.bytes.WithLabelValues(a.Verb).Add(float64(a.Bytes))
		c.unread.Add(float64(a.Unread))
	}
	c.acts.WithLabelValues(a.Verb, result).Inc()
}

// Describe is of [prometheus.Collector].
func (c *DiskActions) Describe(ch chan<- *prometheus.Desc) {
	c.acts.Describe(ch)
	c.bytes.Describe(ch)
	c.unread.Describe(ch)
}

// Collect is of [prometheus.Collector].
func (c *DiskActions) Collect(ch chan<- prometheus.Metric) {
	c.acts.Collect(ch)
	c.bytes.Collect(ch)
	c.unread.Collect(ch)
}
