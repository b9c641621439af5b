package metrics

import (
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/disk/ledger"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/workload"
)

// DiskActions counts what was done to log files.
type DiskActions struct {
	acts, bytes, unread, read *prometheus.CounterVec

	mu        sync.Mutex
	lost      workloadSeries
	readers   workloadSeries
	reclaimed map[string]bool   // paths whose loss was counted as reclaim
	counted   map[string]uint64 // bytes that a ledger counted as lost, by path
}

// NewDiskActions returns counters at zero.
func NewDiskActions() *DiskActions {
	c := &DiskActions{
		reclaimed: map[string]bool{},
		counted:   map[string]uint64{},
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
			Help: "Bytes of logs that were gone before a collector had read them, by the workload that wrote them and by cause: rotation, reclaim, eviction, truncation, deleted, or unknown where no reader's position is known. Logs of no container have empty labels; beyond 100 workloads the namespace is other.",
		}, []string{"namespace", "pod", "container", "cause"}),
		read: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_log_read_bytes_total",
			Help: "Bytes of containers' logs that the furthest collector of each file has read, by the workload that wrote them; beyond 100 workloads the namespace is other.",
		}, []string{"namespace", "pod", "container"}),
	}
	for _, cause := range ledger.Causes {
		c.unread.WithLabelValues("", "", "", string(cause))
	}
	c.read.WithLabelValues("", "", "")
	c.lost.remove = func(w workload.Workload) {
		for _, cause := range ledger.Causes {
			c.unread.DeleteLabelValues(w.Namespace, w.Pod, w.Container, string(cause))
		}
	}
	c.readers.remove = func(w workload.Workload) { c.read.DeleteLabelValues(w.Namespace, w.Pod, w.Container) }
	// An increase from nothing to 1 is none for Prometheus.
	for _, act := range []string{logdir.ActionRotate, logdir.ActionCompress, logdir.ActionRemove, logdir.ActionRepair, logdir.ActionPunch} {
		c.acts.WithLabelValues(act, "done")
		c.acts.WithLabelValues(act, "error")
		c.bytes.WithLabelValues(act)
	}
	c.acts.WithLabelValues(logdir.ActionSkip, "refused")
	return c
}

// maxReclaimed bounds the paths that are remembered.
const maxReclaimed = 10_000

// countReclaimed adds what nodetune removed of the log or archive at path before it was
// read.
func (c *DiskActions) countReclaimed(path string, bytes uint64) {
	l, _ := workload.ParseLogPath(path)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.reclaimed) >= maxReclaimed {
		clear(c.reclaimed)
	}
	plain := strings.TrimSuffix(path, ".gz")
	if was, ok := c.counted[plain]; ok { // the ledger was first
		delete(c.counted, plain)
		bytes -= min(bytes, was)
	} else {
		c.reclaimed[plain] = true
	}
	c.addLost(l.Workload, ledger.CauseReclaim, bytes, time.Now())
}

func (c *DiskActions) addLost(w workload.Workload, cause ledger.Cause, bytes uint64, now time.Time) {
	w = c.lost.of(w, now)
	c.unread.WithLabelValues(w.Namespace, w.Pod, w.Container, string(cause)).Add(float64(bytes))
}

// CountLedger adds what a ledger saw. What nodetune removed itself is counted already.
func (c *DiskActions) CountLedger(e ledger.Entries, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range e.Losses {
		if c.reclaimed[x.Path] {
			delete(c.reclaimed, x.Path)
			continue
		}
		if len(c.counted) >= maxReclaimed {
			clear(c.counted)
		}
		c.counted[x.Path] += x.Bytes
		c.addLost(x.Workload, x.Cause, x.Bytes, now)
	}
	for w, n := range e.Read {
		w = c.readers.of(w, now)
		c.read.WithLabelValues(w.Namespace, w.Pod, w.Container).Add(float64(n))
	}
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
			c.countReclaimed(a.Path, a.Unread)
		}
	}
	c.acts.WithLabelValues(a.Verb, result).Inc()
}

// Describe is of [prometheus.Collector].
func (c *DiskActions) Describe(ch chan<- *prometheus.Desc) {
	c.acts.Describe(ch)
	c.bytes.Describe(ch)
	c.unread.Describe(ch)
	c.read.Describe(ch)
}

// Collect is of [prometheus.Collector].
func (c *DiskActions) Collect(ch chan<- prometheus.Metric) {
	c.acts.Collect(ch)
	c.bytes.Collect(ch)
	c.unread.Collect(ch)
	c.read.Collect(ch)
}
