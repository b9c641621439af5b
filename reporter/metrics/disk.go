package metrics

import (
	"cmp"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

var (
	diskLabels     = []string{"path"}
	producerLabels = []string{"kind", "namespace", "pod", "container", "path"}
	logLabels      = []string{"namespace", "pod", "container", "path", "reader"}

	diskUsable = desc("nodetune_disk_usable",
		"1 if the filesystem answers and was not shut down, 0 if it hangs or failed: then it has no other series.", diskLabels...)
	diskReadOnly = desc("nodetune_disk_read_only",
		"1 if the filesystem is read-only, as after an error.", diskLabels...)
	diskSize = desc("nodetune_disk_size_bytes",
		"Size of the filesystem.", diskLabels...)
	diskAvail = desc("nodetune_disk_avail_bytes",
		"What anyone but root may still use, f_bavail, as the kubelet computes it.", diskLabels...)
	diskInodes = desc("nodetune_disk_inodes",
		"Inodes of the filesystem; absent where it makes them as needed.", diskLabels...)
	diskInodesFree = desc("nodetune_disk_inodes_free",
		"Inodes of the filesystem that are free.", diskLabels...)
	diskGrowth = desc("nodetune_disk_growth_bytes_per_second",
		"Median speed at which available bytes shrink; negative while space comes back. The forecasts may use another speed.", diskLabels...)
	diskFull = desc("nodetune_disk_time_to_full_seconds",
		"Time until no space is available at the speed of the forecast: the median while the disk fills steadily, and at least what the last ten minutes lost; absent if that never happens.", diskLabels...)
	diskEviction = desc("nodetune_disk_time_to_eviction_seconds",
		"Time until the kubelet evicts pods at the speed of the forecast, as for nodetune_disk_time_to_full_seconds; absent if that never happens.", diskLabels...)
	diskEvictionAvail = desc("nodetune_disk_eviction_avail_bytes",
		"The kubelet evicts pods below this.", diskLabels...)
	logBytes = desc("nodetune_log_bytes",
		"Allocated bytes of the producer's logs with their archives; the 20 largest.", producerLabels...)
	logWritten = desc("nodetune_log_written_bytes_total",
		"Bytes the producer wrote since the agent began, through rotations and restarts; the 20 that wrote most.", producerLabels...)
	logLag = desc("nodetune_log_reader_lag_bytes",
		"Bytes of the log that the program of this name has not read; the 20 furthest behind.", logLabels...)
	logStalled = desc("nodetune_log_readers_stalled",
		"Readers that stopped reading, with unread bytes, while their file grows.")
	logReadersKernel = desc("nodetune_log_readers_kernel",
		"1 where who reads which log is read from the kernel's descriptor tables, 0 where it is read from procfs. The report says why.")
	logLoss = desc("nodetune_log_predicted_loss_bytes",
		"What the readers would not have read after disk.readers.rotateWait at their present speed, if every log were rotated now.")
	logUnfollowed = desc("nodetune_log_unfollowed",
		"Live logs of containers that are not empty and that no process has open or watches.")
	logDeleted = desc("nodetune_log_deleted_open_bytes",
		"Space of deleted files that a process keeps open, on the filesystems above.")
	logOrphans = desc("nodetune_log_orphans_bytes",
		"Logs of pods that the kubelet does not have any more.")
	logCorrupt = desc("nodetune_log_corrupt_archives",
		"Compressed logs that cannot be read to their end.")

	diskDescs = []*prometheus.Desc{
		diskUsable, diskReadOnly, diskSize, diskAvail, diskInodes, diskInodesFree, diskGrowth, diskFull, diskEviction, diskEvictionAvail,
		logBytes, logWritten, logLag, logStalled, logReadersKernel, logLoss, logUnfollowed, logDeleted, logOrphans, logCorrupt,
	}
)

func (t *writtenTotals) collect(ch chan<- prometheus.Metric, r reporter.Result[disk.Usage]) {
	if r.At.IsZero() || r.Err != nil {
		return
	}
	u := r.Value
	sent := map[string]bool{}
	for _, f := range u.Filesystems[:min(len(u.Filesystems), topSeries)] {
		if path := safetext.String(f.Path); !sent[path] { // two paths may print alike
			sent[path] = true
			collectFilesystem(ch, f)
		}
	}
	collectProducers(ch, t.sum(u.Producers))
	collectReaders(ch, u.Readers)
	collectCollectors(ch, u.Readers)
	gauge(ch, logReadersKernel, boolToFloat(u.Scan.ReadersFrom == disk.ReadersFromKernel))
	gauge(ch, logUnfollowed, float64(len(u.Unfollowed)))
	gauge(ch, logDeleted, sum(u.Deleted, func(d logs.Deleted) uint64 { return d.Bytes }))
	gauge(ch, logOrphans, sum(u.Orphans, func(o reclaim.Orphan) uint64 { return o.Bytes }))
	gauge(ch, logCorrupt, float64(len(u.Corrupt)))
}

func sum[T any](rows []T, of func(T) uint64) float64 {
	n := uint64(0)
	for _, r := range rows {
		n += of(r)
	}
	return float64(n)
}

func collectFilesystem(ch chan<- prometheus.Metric, f filesystem.Filesystem) {
	path := safetext.String(f.Path)
	gauge(ch, diskUsable, boolToFloat(f.Measured()), path)
	if !f.Measured() {
		return
	}
	gauge(ch, diskReadOnly, boolToFloat(f.State == filesystem.StateReadOnly), path)
	gauge(ch, diskSize, float64(f.SizeBytes), path)
	gauge(ch, diskAvail, float64(f.AvailBytes), path)
	if f.Inodes > 0 {
		gauge(ch, diskInodes, float64(f.Inodes), path)
		gauge(ch, diskInodesFree, float64(f.InodesFree), path)
	}
	sendKnown(ch, diskGrowth, f.GrowthBytesPerSecond, path)
	sendKnown(ch, diskFull, f.SecondsToFull, path)
	sendKnown(ch, diskEviction, f.SecondsToEviction, path)
	if f.EvictionAvailBytes != nil {
		gauge(ch, diskEvictionAvail, float64(*f.EvictionAvailBytes), path)
	}
}

// sendKnown sends what is known.
func sendKnown(ch chan<- prometheus.Metric, d *prometheus.Desc, v *float64, labels ...string) {
	if v != nil {
		gauge(ch, d, *v, labels...)
	}
}

// series is the sum of the producers with equal labels: two log directories of one pod
// name, as a StatefulSet leaves them, or two names that print alike. A scrape with one
// series twice fails.
type series struct {
	labels         [5]string
	bytes, written float64
	counts         bool               // it has a counter
	paths          map[string]float64 // what was written, by directory or file
}

// writtenTotals keeps the counter of a series from falling: of two directories of one pod
// name the old one goes, and what was written to it stays in the sum. A series of which no directory is
// left begins at 0 again, as one that is new.
type writtenTotals struct {
	mu  sync.Mutex
	all map[[5]string]*writtenTotal
}

type writtenTotal struct {
	total float64
	last  map[string]float64 // by path, also of what is gone
}

// maxPaths is from how many paths on a series forgets those that are gone.
const maxPaths = 64

// sum is sumProducers with counters that do not fall.
func (t *writtenTotals) sum(producers []logs.Producer) []series {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := sumProducers(producers)
	totals := make(map[[5]string]*writtenTotal, len(all))
	for i := range all {
		s := &all[i]
		is := t.all[s.labels]
		if is == nil {
			is = &writtenTotal{last: map[string]float64{}}
		}
		totals[s.labels] = is
		for path, n := range s.paths {
			is.total += max(n-is.last[path], 0) // less: it is counted from its size again
			is.last[path] = n
		}
		if len(is.last) > maxPaths {
			is.last = s.paths
		}
		s.written = is.total
	}
	t.all = totals
	return all
}

// sumProducers returns the series of the producers, in their order.
func sumProducers(producers []logs.Producer) []series {
	var all []series
	index := map[[5]string]int{}
	for _, p := range producers {
		path := p.Path
		switch {
		case p.Kind == logs.KindUnit:
			path = p.Unit
		case p.Kind == logs.KindContainer && p.Pod != "":
			path = "" // the other labels name it
		}
		labels := [5]string{string(p.Kind), p.Namespace, p.Pod, p.Container, safetext.String(path)}
		i, ok := index[labels]
		if !ok {
			i = len(all)
			index[labels] = i
			all = append(all, series{labels: labels})
		}
		all[i].bytes += float64(p.Bytes)
		if !p.Estimated { // a unit's part of the journal is a share that may shrink: no counter
			if all[i].paths == nil {
				all[i].paths = map[string]float64{}
			}
			all[i].paths[p.Path] += float64(p.WrittenBytes)
			all[i].counts = true
		}
	}
	return all
}

func collectProducers(ch chan<- prometheus.Metric, all []series) {
	slices.SortStableFunc(all, func(a, b series) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, s := range all[:min(len(all), topSeries)] {
		gauge(ch, logBytes, s.bytes, s.labels[:]...)
	}
	written := slices.DeleteFunc(all, func(s series) bool { return !s.counts })
	slices.SortStableFunc(written, func(a, b series) int { return cmp.Compare(b.written, a.written) })
	for _, s := range written[:min(len(written), topSeries)] {
		counter(ch, logWritten, s.written, s.labels[:]...)
	}
}

// collectReaders sends the furthest behind. A program may read a log in several
// processes: the one that is furthest behind counts.
func collectReaders(ch chan<- prometheus.Metric, readers []logs.Reader) {
	stalled := 0
	sent := map[[5]string]bool{}
	for _, r := range readers { // the furthest behind first
		if r.StalledSince != nil {
			stalled++
		}
		path := ""
		if r.Log.Pod == "" {
			path = r.Path
		}
		name := [5]string{r.Log.Namespace, r.Log.Pod, r.Log.Container, safetext.String(path), safetext.String(r.Comm)}
		if r.OffsetBytes != nil && !sent[name] && len(sent) < topSeries {
			sent[name] = true
			gauge(ch, logLag, float64(r.LagBytes), name[:]...)
		}
	}
	gauge(ch, logStalled, float64(stalled))
	gauge(ch, logLoss, sum(readers, func(r logs.Reader) uint64 { return r.PredictedLossBytes }))
}
