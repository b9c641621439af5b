package metrics

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

// topSeries bounds each family that has a series for an account or a workload:
// what users run must not decide how large a scrape is. 20 of each on 5,000
// nodes are 100,000 series a family at most; the rest is in `nodetune top`.
const topSeries = 20

var (
	ownerLabels    = []string{"userns", "uid"}
	consumerLabels = []string{"namespace", "pod", "container", "comm"}

	ownerInstances = desc("nodetune_inotify_instances",
		"Inotify instances that the kernel charges to the account; the fullest 20 accounts.", ownerLabels...)
	ownerInstancesLimit = desc("nodetune_inotify_instances_limit",
		"Inotify instances that the account may have.", ownerLabels...)
	ownerWatches = desc("nodetune_inotify_watches",
		"Inotify watches that the kernel charges to the account; the fullest 20 accounts.", ownerLabels...)
	ownerWatchesLimit = desc("nodetune_inotify_watches_limit",
		"Inotify watches that the account may have.", ownerLabels...)
	consumerInstances = desc("nodetune_inotify_consumer_instances",
		"Inotify instances that the processes of this name hold; the 20 with most. One that several share counts for each.", consumerLabels...)
	consumerWatches = desc("nodetune_inotify_consumer_watches",
		"Inotify watches in those instances; the 20 with most.", consumerLabels...)
	consumerQueue = desc("nodetune_inotify_consumer_queued_events",
		"Inotify events that wait to be read in the fullest queue of the processes of this name; the 20 with most.", consumerLabels...)
	consumerQueueLimit = desc("nodetune_inotify_consumer_queued_events_limit",
		"Inotify events that may wait in that queue: what comes then is lost.", consumerLabels...)
	fdUsed = desc("nodetune_process_open_fds",
		"Open descriptors of the process of this name that is nearest to its own RLIMIT_NOFILE; the 20 nearest.", consumerLabels...)
	fdLimit = desc("nodetune_process_max_fds",
		"Soft RLIMIT_NOFILE of that process.", consumerLabels...)
	openFiles = desc("nodetune_open_files",
		"Open files of the node (fs.file-nr).")
	openFilesLimit = desc("nodetune_open_files_limit",
		"Open files that the node may have (fs.file-max).")
	kernelCounters = desc("nodetune_inotify_kernel_counters",
		"1 where the use of accounts is what the kernel counts, 0 where it is worked out from processes. 'nodetune check' says why.")
	kernelHolders = desc("nodetune_inotify_kernel_holders",
		"1 where who holds instances is read from the kernel's descriptor tables, 0 where it is read from procfs. 'nodetune check' says why.")
	refusalsTraced = desc("nodetune_inotify_refusals_traced",
		"1 where calls of inotify that fail are traced, 0 where they are not. The report says why.")
	unattributed = desc("nodetune_inotify_unattributed_instances",
		"Inotify instances that the kernel charges and no process holds: sent through a socket and not received.")
	scanProcesses = desc("nodetune_scan_processes",
		"Processes that the last walk saw.")
	scanUnreadable = desc("nodetune_scan_unreadable_processes",
		"Processes whose descriptors the last walk could not read: what they hold is not counted. 'nodetune check' says why.")

	inotifyDescs = []*prometheus.Desc{
		ownerInstances, ownerInstancesLimit, ownerWatches, ownerWatchesLimit, consumerInstances, consumerWatches,
		consumerQueue, consumerQueueLimit,
		fdUsed, fdLimit, openFiles, openFilesLimit, kernelCounters, kernelHolders, refusalsTraced, unattributed, scanProcesses, scanUnreadable,
	}
)

// inotifySeries remembers which accounts and names have a series. Two scrapes may
// come at once.
type inotifySeries struct {
	mu                             sync.Mutex
	accounts                       topSet[inotify.Owner]
	instances, watches, queue, fds topSet[[4]string]
}

func (t *inotifySeries) collect(ch chan<- prometheus.Metric, r reporter.Result[inotify.Usage]) {
	if r.At.IsZero() || r.Err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	u := r.Value
	t.collectOwners(ch, u.Accounts)
	t.collectConsumers(ch, u.Processes)
	collectLimitTops(ch, u)
	gauge(ch, openFiles, float64(u.Limits.OpenFiles))
	limit(ch, openFilesLimit, u.Limits.FileMax)
	if u.Source == inotify.SourceKernel {
		gauge(ch, kernelCounters, 1)
		gauge(ch, unattributed, float64(u.InstancesUnattributed))
	} else {
		gauge(ch, kernelCounters, 0)
	}
	if u.HoldersSource == inotify.SourceWalk {
		gauge(ch, kernelHolders, 1)
	} else {
		gauge(ch, kernelHolders, 0)
	}
	if u.RefusalsSource != "" && u.RefusalsSource != inotify.RefusalSourceOff {
		gauge(ch, refusalsTraced, 1)
	} else {
		gauge(ch, refusalsTraced, 0)
	}
	gauge(ch, scanProcesses, float64(u.Walk.Processes))
	unreadable := 0
	for _, w := range u.Walk.Unreadable {
		unreadable += w.Processes
	}
	gauge(ch, scanUnreadable, float64(unreadable))
}

// collectOwners sends the accounts, which come with the fullest first. Those of user
// namespaces below the node's are left out: any process can make more of them.
func (t *inotifySeries) collectOwners(ch chan<- prometheus.Metric, accounts []inotify.Account) {
	var ranked []inotify.Owner
	for _, a := range accounts {
		if a.Level == 0 {
			ranked = append(ranked, a.Owner)
		}
	}
	shown := t.accounts.pick(ranked)
	for _, a := range accounts {
		if a.Level != 0 || !shown[a.Owner] {
			continue
		}
		labels := []string{strconv.FormatUint(a.UserNS, 10), strconv.FormatUint(uint64(a.UID), 10)}
		if a.InstancesQuality != inotify.Unknown {
			gauge(ch, ownerInstances, float64(a.Instances), labels...)
		}
		if a.WatchesQuality != inotify.Unknown {
			gauge(ch, ownerWatches, float64(a.Watches), labels...)
		}
		limit(ch, ownerInstancesLimit, a.InstancesLimit, labels...)
		limit(ch, ownerWatchesLimit, a.WatchesLimit, labels...)
	}
}

// consumer is everything of one name: pids come and go, and are no label.
type consumer struct {
	name               [4]string
	instances, watches int64
	watchesKnown       bool
	fds                int64 // of the process nearest its limit
	nofile             inotify.Limit
	queue, queueLimit  int64 // the fullest
}

func consumers(processes []inotify.Process) []consumer {
	var all []consumer
	index := make(map[[4]string]int)
	for _, p := range processes {
		name := [4]string{safetext.String(p.Namespace), safetext.String(p.Pod), safetext.String(p.Container), safetext.String(p.Comm)}
		i, ok := index[name]
		if !ok {
			i = len(all)
			index[name] = i
			all = append(all, consumer{name: name, nofile: inotify.NoLimit})
		}
		c := &all[i]
		c.instances += p.Instances
		c.watches += p.Watches
		c.watchesKnown = c.watchesKnown || p.WatchesQuality != inotify.Unknown
		if p.QueuedEvents > c.queue {
			c.queue, c.queueLimit = p.QueuedEvents, p.QueuedEventsLimit
		}
		if p.NOFILESoft.Percent(p.FDs) > c.nofile.Percent(c.fds) {
			c.fds, c.nofile = p.FDs, p.NOFILESoft
		}
	}
	return all
}

func (t *inotifySeries) collectConsumers(ch chan<- prometheus.Metric, processes []inotify.Process) {
	all := consumers(processes)
	top := func(set *topSet[[4]string], more func(a, b consumer) int) []consumer {
		slices.SortFunc(all, func(a, b consumer) int {
			return cmp.Or(more(a, b), slices.Compare(a.name[:], b.name[:]))
		})
		ranked := make([][4]string, len(all))
		for i, c := range all {
			ranked[i] = c.name
		}
		shown := set.pick(ranked)
		return slices.DeleteFunc(slices.Clone(all), func(c consumer) bool { return !shown[c.name] })
	}
	for _, c := range top(&t.instances, func(a, b consumer) int { return cmp.Compare(b.instances, a.instances) }) {
		if c.instances > 0 {
			gauge(ch, consumerInstances, float64(c.instances), c.name[:]...)
		}
	}
	for _, c := range top(&t.watches, func(a, b consumer) int { return cmp.Compare(b.watches, a.watches) }) {
		if c.watches > 0 && c.watchesKnown {
			gauge(ch, consumerWatches, float64(c.watches), c.name[:]...)
		}
	}
	for _, c := range top(&t.queue, func(a, b consumer) int { return cmp.Compare(b.queue, a.queue) }) {
		if c.queue > 0 {
			gauge(ch, consumerQueue, float64(c.queue), c.name[:]...)
			gauge(ch, consumerQueueLimit, float64(c.queueLimit), c.name[:]...)
		}
	}
	nearest := func(a, b consumer) int { return cmp.Compare(b.nofile.Percent(b.fds), a.nofile.Percent(a.fds)) }
	for _, c := range top(&t.fds, nearest) {
		if c.nofile >= 0 {
			gauge(ch, fdUsed, float64(c.fds), c.name[:]...)
			gauge(ch, fdLimit, float64(c.nofile), c.name[:]...)
		}
	}
}

// limit sends a limit that is known.
func limit(ch chan<- prometheus.Metric, d *prometheus.Desc, l inotify.Limit, labels ...string) {
	if l >= 0 {
		gauge(ch, d, float64(l), labels...)
	}
}
