package metrics

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/sysctl"
)

// The series that alerts name a cause by.
var (
	programLabels = []string{"namespace", "pod", "container", "unit", "comm"}

	limitTop = desc("nodetune_limit_top_consumer_ratio",
		"Share of the limit that the processes of one name in one pod or unit hold: those that hold the most, of the fullest account for inotify_instances and inotify_watches, and of the node for open_files.",
		append([]string{"resource"}, programLabels...)...)
	collectorLoss = desc("nodetune_log_collector_predicted_loss_bytes",
		"What this collector would not have read after disk.readers.rotateWait at its present speed, if every log were rotated now; the 20 with most.", programLabels...)
	collectorStalled = desc("nodetune_log_collector_stalled_logs",
		"Logs that this collector has stopped reading, with unread bytes, while they grow; the 20 with most.", programLabels...)

	sysctlLoweredBy = desc("nodetune_sysctl_lowered_by_writes",
		"Writes that lowered the key, or were below its floor, by this program in the last hour, as the guard saw them; the 20 with most.",
		append([]string{"key"}, programLabels...)...)

	causeDescs = []*prometheus.Desc{limitTop, collectorLoss, collectorStalled, sysctlLoweredBy}
)

// programName is a program where it belongs: namespace, pod, container, unit and comm.
type programName [5]string

func newProgramName(namespace, pod, container, unit, comm string) programName {
	return programName{safetext.String(namespace), safetext.String(pod), safetext.String(container), safetext.String(unit), safetext.String(comm)}
}

func programOf(p *inotify.Process) programName {
	return newProgramName(p.Namespace, p.Pod, p.Container, p.Unit, p.Comm)
}

// collectLimitTops sends who holds the most of each limit.
func collectLimitTops(ch chan<- prometheus.Metric, u inotify.Usage) {
	send := func(r inotify.Resource, used int64, limit inotify.Limit, holds func(*inotify.Process) int64) {
		if name, n := mostOf(u.Processes, holds); n > 0 && limit > 0 {
			// What several processes share counts for each of them.
			share := float64(min(n, used)) / float64(limit)
			gauge(ch, limitTop, share, append([]string{string(r)}, name[:]...)...)
		}
	}
	if a, ok := fullest(u.Accounts, instancesOf); ok {
		send(inotify.Instances, a.Instances, a.InstancesLimit, func(p *inotify.Process) int64 { return ofAccount(p, a, p.Instances) })
	}
	if a, ok := fullest(u.Accounts, watchesOf); ok {
		send(inotify.Watches, a.Watches, a.WatchesLimit, func(p *inotify.Process) int64 { return ofAccount(p, a, p.Watches) })
	}
	send(inotify.OpenFiles, u.Limits.OpenFiles, u.Limits.FileMax, func(p *inotify.Process) int64 { return p.FDs })
}

func instancesOf(a *inotify.Account) (inotify.Quality, float64) {
	return a.InstancesQuality, a.InstancesLimit.Percent(a.Instances)
}

func watchesOf(a *inotify.Account) (inotify.Quality, float64) {
	return a.WatchesQuality, a.WatchesLimit.Percent(a.Watches)
}

// fullest is the account of the node that uses the largest share.
func fullest(accounts []inotify.Account, use func(*inotify.Account) (inotify.Quality, float64)) (most inotify.Account, ok bool) {
	share := 0.0
	for i := range accounts {
		quality, percent := use(&accounts[i])
		if accounts[i].Level == 0 && quality != inotify.Unknown && percent > share {
			most, share, ok = accounts[i], percent, true
		}
	}
	return most, ok
}

func ofAccount(p *inotify.Process, a inotify.Account, n int64) int64 {
	if p.UserNS != a.UserNS || p.UID != a.UID {
		return 0
	}
	return n
}

// mostOf is the program whose processes hold the most together.
func mostOf(processes []inotify.Process, holds func(*inotify.Process) int64) (name programName, most int64) {
	sums := map[programName]int64{}
	for i := range processes {
		n := holds(&processes[i])
		if n <= 0 {
			continue
		}
		at := programOf(&processes[i])
		sums[at] += n
		if sums[at] > most || sums[at] == most && slices.Compare(at[:], name[:]) < 0 {
			name, most = at, sums[at]
		}
	}
	return name, most
}

// collectCollectors sends what each collector is about to lose, and what it does not read.
func collectCollectors(ch chan<- prometheus.Metric, readers []logs.Reader) {
	type collector struct {
		name    programName
		loss    uint64
		stalled int
	}
	var all []collector
	index := map[programName]int{}
	for i := range readers {
		r := &readers[i]
		name := newProgramName(r.Who.Namespace, r.Who.Pod, r.Who.Container, r.Who.Unit, r.Comm)
		at, ok := index[name]
		if !ok {
			at = len(all)
			index[name] = at
			all = append(all, collector{name: name})
		}
		all[at].loss += r.PredictedLossBytes
		if r.StalledSince != nil {
			all[at].stalled++
		}
	}
	slices.SortFunc(all, func(a, b collector) int {
		return cmp.Or(cmp.Compare(b.loss, a.loss), slices.Compare(a.name[:], b.name[:]))
	})
	for _, c := range all[:min(len(all), topSeries)] {
		gauge(ch, collectorLoss, float64(c.loss), c.name[:]...)
	}
	slices.SortStableFunc(all, func(a, b collector) int { return cmp.Compare(b.stalled, a.stalled) })
	for _, c := range all[:min(len(all), topSeries)] {
		gauge(ch, collectorStalled, float64(c.stalled), c.name[:]...)
	}
}

// collectLoweredBy sends which programs lowered which keys in the hour before now.
func collectLoweredBy(ch chan<- prometheus.Metric, writes sysctl.ObservedWrites, now time.Time) {
	type writer struct {
		key  sysctl.Key
		name programName
	}
	counts := map[writer]uint64{}
	for _, w := range writes {
		if w.Direction() != "lowered" && !w.BelowFloor || now.Sub(w.Last) >= time.Hour {
			continue
		}
		comm := strings.TrimSuffix(w.Process, fmt.Sprintf("[%d]", w.PID)) // a script has a new pid each time
		counts[writer{w.Key, newProgramName(w.Namespace, w.Pod, w.Container, w.Unit, comm)}] += w.Count
	}
	all := slices.SortedFunc(maps.Keys(counts), func(a, b writer) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.key, b.key), slices.Compare(a.name[:], b.name[:]))
	})
	for _, w := range all[:min(len(all), topSeries)] {
		gauge(ch, sysctlLoweredBy, float64(counts[w]), append([]string{string(w.key)}, w.name[:]...)...)
	}
}
