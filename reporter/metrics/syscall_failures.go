package metrics

import (
	"cmp"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/text"
)

// SyscallFailures counts what inotify has refused.
type SyscallFailures struct {
	calls *prometheus.CounterVec

	mu        sync.Mutex
	consumers map[failingConsumer]int64
}

type failingConsumer struct{ namespace, pod, container, comm, resource string }

// maxFailingConsumers bounds what is remembered, of which topSeries are shown.
const maxFailingConsumers = 512

var consumerFailures = desc("nodetune_inotify_consumer_refusals_total",
	"Calls of inotify that failed, of the processes of this name; the 20 with most.", "namespace", "pod", "container", "comm", "resource")

// NewSyscallFailures returns counters at zero.
func NewSyscallFailures() *SyscallFailures {
	c := &SyscallFailures{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_inotify_refusals_total",
			Help: "Calls of inotify that failed, by errno and by what was used up, which is empty where no limit was.",
		}, []string{"call", "errno", "resource"}),
		consumers: make(map[failingConsumer]int64),
	}
	// What inotify(7) documents that a used-up limit causes. An increase from
	// nothing to 1 is none for Prometheus.
	for _, known := range knownFailures {
		c.calls.WithLabelValues(known.Call, text.ErrnoName(known.Errno), string(known.Resource))
	}
	return c
}

// Count adds f.
func (c *SyscallFailures) Count(f inotify.SyscallFailure) {
	c.calls.WithLabelValues(f.Call, text.ErrnoName(f.Errno), string(f.Resource)).Add(float64(f.Count))
	k := failingConsumer{safetext.String(f.Namespace), safetext.String(f.Pod), safetext.String(f.Container), safetext.String(f.Comm), string(f.Resource)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.consumers[k]; !known && len(c.consumers) >= maxFailingConsumers {
		c.forget()
	}
	c.consumers[k] += f.Count
}

// forget makes room: one that was refused least goes.
func (c *SyscallFailures) forget() {
	var least failingConsumer
	n := int64(-1)
	for k, m := range c.consumers {
		if n < 0 || m < n {
			least, n = k, m
		}
	}
	delete(c.consumers, least)
}

// Describe is of [prometheus.Collector].
func (c *SyscallFailures) Describe(ch chan<- *prometheus.Desc) {
	c.calls.Describe(ch)
	ch <- consumerFailures
}

// Collect is of [prometheus.Collector].
func (c *SyscallFailures) Collect(ch chan<- prometheus.Metric) {
	c.calls.Collect(ch)
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]failingConsumer, 0, len(c.consumers))
	for k := range c.consumers {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b failingConsumer) int {
		return cmp.Or(cmp.Compare(c.consumers[b], c.consumers[a]), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.pod, b.pod),
			cmp.Compare(a.container, b.container), cmp.Compare(a.comm, b.comm), cmp.Compare(a.resource, b.resource))
	})
	for _, k := range all[:min(len(all), topSeries)] {
		ch <- prometheus.MustNewConstMetric(consumerFailures, prometheus.CounterValue, float64(c.consumers[k]), k.namespace, k.pod, k.container, k.comm, k.resource)
	}
}

// knownFailures are the calls that fail where a limit is used up.
var knownFailures = []inotify.SyscallFailure{
	{Call: "inotify_init1", Errno: int(unix.EMFILE), Resource: inotify.Instances},
	{Call: "inotify_init1", Errno: int(unix.EMFILE), Resource: inotify.NOFILE},
	{Call: "inotify_init1", Errno: int(unix.EMFILE), Resource: inotify.InstancesOrNOFILE},
	{Call: "inotify_init1", Errno: int(unix.ENFILE), Resource: inotify.OpenFiles},
	{Call: "inotify_add_watch", Errno: int(unix.ENOSPC), Resource: inotify.Watches},
}
