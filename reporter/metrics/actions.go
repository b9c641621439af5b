package metrics

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/workload"
)

// DiskActions counts what was done to log files.
type DiskActions struct {
	acts, bytes, unread *prometheus.CounterVec

	mu        sync.Mutex
	workloads map[workload.Workload]bool // with a series of unread
}

// maxUnreadSeries bounds the workloads with a series of their own; the rest share one
// without labels.
const maxUnreadSeries = 100

// NewDiskActions returns counters at zero.
func NewDiskActions() *DiskActions {
	c := &DiskActions{
		workloads: map[workload.Workload]bool{},
		acts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_disk_acts_total",
			Help: "What was done to log files, by act and result: done, refused (not a file to act upon) or error.",
		}, []string{"act", "result"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_disk_act_bytes_total",
			Help: "Bytes that were moved into an archive (rotate) or given back (remove, compress, punch), by act.",
		}, []string{"act"}),
		unread: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_disk_unread_lost_bytes_total",
			Help: "Bytes that were removed before a reader had them, when nothing else was left, by the workload that wrote them. For logs of no container, and beyond 100 workloads, the labels are empty.",
		}, []string{"namespace", "pod", "container"}),
	}
	c.unread.WithLabelValues("", "", "")
	// An increase from nothing to 1 is none for Prometheus.
	for _, act := range []string{logdir.ActionRotate, logdir.ActionCompress, logdir.ActionRemove, logdir.ActionRepair, logdir.ActionPunch} {
		c.acts.WithLabelValues(act, "done")
		c.acts.WithLabelValues(act, "error")
		c.bytes.WithLabelValues(act)
	}
	c.acts.WithLabelValues(logdir.ActionSkip, "refused")
	return c
}

// countUnread adds what was removed of the log or archive at path before it was read.
func (c *DiskActions) countUnread(path string, bytes uint64) {
	l, _ := workload.ParseLogPath(path)
	w := workload.Workload{Namespace: l.Namespace, Pod: l.Pod, Container: l.Container}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.workloads[w] && len(c.workloads) >= maxUnreadSeries {
		w = workload.Workload{}
	} else {
		c.workloads[w] = true
	}
	c.unread.WithLabelValues(w.Namespace, w.Pod, w.Container).Add(float64(bytes))
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
		if a.Unread > 0 {
			c.countUnread(a.Path, a.Unread)
		}
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
