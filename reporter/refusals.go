package reporter

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/sysctl"
)

// InotifyRefused is the reason of the Event on whose inotify was refused.
const InotifyRefused = "InotifyRefused"

// Refusals counts what inotify has refused.
type Refusals struct {
	calls *prometheus.CounterVec

	mu        sync.Mutex
	consumers map[refusedConsumer]int64
}

type refusedConsumer struct{ namespace, pod, container, comm, resource string }

// refusedConsumers bounds what is remembered, of which topSeries are shown.
const refusedConsumers = 512

var consumerRefusals = desc("nodetune_inotify_consumer_refusals_total",
	"Calls of inotify that failed, of the processes of this name; the 20 with most.", "namespace", "pod", "container", "comm", "resource")

// NewRefusals returns counters at zero.
func NewRefusals() *Refusals {
	return &Refusals{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nodetune_inotify_refusals_total",
			Help: "Calls of inotify that failed, by errno and by what was used up, which is empty where no limit was.",
		}, []string{"call", "errno", "resource"}),
		consumers: make(map[refusedConsumer]int64),
	}
}

// Count adds f.
func (c *Refusals) Count(f inotify.Refusal) {
	c.calls.WithLabelValues(f.Call, errnoName(f.Errno), string(f.Resource)).Add(float64(f.Count))
	k := refusedConsumer{safetext.String(f.Namespace), safetext.String(f.Pod), safetext.String(f.Container), safetext.String(f.Comm), string(f.Resource)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.consumers[k]; !known && len(c.consumers) >= refusedConsumers {
		c.forget()
	}
	c.consumers[k] += f.Count
}

// forget makes room: one that was refused least goes.
func (c *Refusals) forget() {
	var least refusedConsumer
	n := int64(-1)
	for k, m := range c.consumers {
		if n < 0 || m < n {
			least, n = k, m
		}
	}
	delete(c.consumers, least)
}

// Describe is of [prometheus.Collector].
func (c *Refusals) Describe(ch chan<- *prometheus.Desc) {
	c.calls.Describe(ch)
	ch <- consumerRefusals
}

// Collect is of [prometheus.Collector].
func (c *Refusals) Collect(ch chan<- prometheus.Metric) {
	c.calls.Collect(ch)
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]refusedConsumer, 0, len(c.consumers))
	for k := range c.consumers {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b refusedConsumer) int {
		return cmp.Or(cmp.Compare(c.consumers[b], c.consumers[a]), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.pod, b.pod),
			cmp.Compare(a.container, b.container), cmp.Compare(a.comm, b.comm), cmp.Compare(a.resource, b.resource))
	})
	for _, k := range all[:min(len(all), topSeries)] {
		ch <- prometheus.MustNewConstMetric(consumerRefusals, prometheus.CounterValue, float64(c.consumers[k]), k.namespace, k.pod, k.container, k.comm, k.resource)
	}
}

// errnoName is EMFILE, or the number of one that has no name.
func errnoName(errno int) string {
	if s := unix.ErrnoName(unix.Errno(errno)); s != "" {
		return s
	}
	return strconv.Itoa(errno)
}

// MetLimits leaves out the calls that failed for another reason than a limit.
func MetLimits(all []inotify.Refusal) []inotify.Refusal {
	return slices.DeleteFunc(slices.Clone(all), func(f inotify.Refusal) bool { return f.Resource == "" })
}

// RefusedText says what was refused to whom, and how often.
func RefusedText(f inotify.Refusal) string {
	who := fmt.Sprintf("%s[%d]", safetext.String(f.Comm), f.PID)
	if w := workload.Name(f.Namespace, f.Pod, f.Container, f.Unit); w != "" {
		who += " of " + w
	}
	s := fmt.Sprintf("%s %s %s: %s", who, amount(int(f.Count), "time", "times"), f.Call, refusedWhy(f))
	if f.Limit >= 0 {
		s += fmt.Sprintf(", %d of %d", f.Used, f.Limit)
	}
	return s
}

// refusedWhy names the errno and the limit, without a number that changes.
func refusedWhy(f inotify.Refusal) string {
	is := errnoName(f.Errno)
	switch f.Resource {
	case inotify.Instances:
		return is + ", " + settingOf(f, sysctl.MaxUserInstances, "user.max_inotify_instances")
	case inotify.Watches:
		return is + ", " + settingOf(f, sysctl.MaxUserWatches, "user.max_inotify_watches")
	case inotify.NOFILE:
		return is + ", its own RLIMIT_NOFILE"
	case inotify.OpenFiles:
		return is + ", " + string(sysctl.FileMax) + " of the node"
	case inotify.Memory:
		return is + ", memory of the kernel or of its cgroup"
	case inotify.InstancesOrNOFILE:
		return is + ", " + string(sysctl.MaxUserInstances) + " or its own RLIMIT_NOFILE"
	}
	return is + ", which is no limit"
}

// settingOf names the setting, and whose it is where that is known.
func settingOf(f inotify.Refusal, key sysctl.Key, below string) string {
	switch {
	case f.Owner == nil:
		return string(key)
	case f.Level > 0:
		return fmt.Sprintf("%s of uid %d in user namespace %d", below, f.Owner.UID, f.Owner.UserNS)
	}
	return fmt.Sprintf("%s of uid %d", key, f.Owner.UID)
}

// RefusedEvent tells the pod whose inotify was refused, where Events on pods may
// be written, or else the Node. A call that failed for another reason than a
// limit is told to nobody.
func (e *Events) RefusedEvent(f inotify.Refusal, onPods bool) (Event, bool) {
	if f.Resource == "" {
		return Event{}, false
	}
	comm := safetext.String(f.Comm)
	if f.Pod == "" || !onPods {
		who := comm
		if w := workload.Name(f.Namespace, f.Pod, f.Container, f.Unit); w != "" {
			who += " of " + w
		}
		return e.OnNode(corev1.EventTypeWarning, InotifyRefused, eventMessage(fmt.Sprintf("%s: %s was refused with %s", who, f.Call, refusedWhy(f)))), true
	}
	if f.Container != "" {
		comm += " in container " + safetext.String(f.Container)
	}
	uid := types.UID(workload.FromCgroupPath(f.Cgroup).PodUID)
	return Event{
		Object: podReference(f.Namespace, f.Pod, uid), Type: corev1.EventTypeWarning, Reason: InotifyRefused,
		Message: eventMessage(fmt.Sprintf("%s: %s was refused with %s", comm, f.Call, refusedWhy(f))),
	}, true
}
