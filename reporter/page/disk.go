package page

import (
	"cmp"
	"slices"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
)

// From these shares in use on a filesystem is warm and hot: the kubelet evicts at
// 90 by default.
const (
	warmUsedPercent = 80
	hotUsedPercent  = 90
)

func filesystems(in Input) []Filesystem {
	u, ok := diskUsage(in)
	if !ok {
		return nil
	}
	var all []Filesystem
	for _, f := range u.Filesystems {
		row := Filesystem{
			Path: shorten(f.Path), Type: shorten(f.Type), Holds: []string{}, FileState: string(f.State), Error: shorten(f.Error), State: Healthy,
			SizeBytes: f.SizeBytes, AvailBytes: f.AvailBytes, UsedPercent: 100 - f.AvailPercent(), BytesPerSecond: f.GrowthBytesPerSecond,
			SecondsToFull: f.SecondsToFull, EvictionBytes: f.EvictionAvailBytes, SecondsToEviction: f.SecondsToEviction,
		}
		for _, r := range f.Roles {
			row.Holds = append(row.Holds, string(r))
		}
		if f.Inodes > 0 {
			free := f.InodesFreePercent()
			row.InodesFreePercent = &free
		}
		switch {
		case !f.Measured() || row.UsedPercent >= hotUsedPercent:
			row.State = Critical
		case row.UsedPercent >= warmUsedPercent || f.State == filesystem.StateReadOnly:
			row.State = Warning
		}
		all = append(all, row)
	}
	slices.SortStableFunc(all, func(a, b Filesystem) int {
		return cmp.Or(cmp.Compare(rank[b.State], rank[a.State]), cmp.Compare(b.UsedPercent, a.UsedPercent))
	})
	return all
}

// producers are those that write fastest, then the largest.
func producers(in Input) []Producer {
	u, ok := diskUsage(in)
	if !ok {
		return nil
	}
	all := slices.Clone(u.Producers)
	slices.SortStableFunc(all, func(a, b logs.Producer) int {
		return cmp.Or(cmp.Compare(rate(b), rate(a)), cmp.Compare(b.Bytes, a.Bytes))
	})
	rows := make([]Producer, 0, min(len(all), maxProducers))
	for i, p := range all {
		row := Producer{Kind: string(p.Kind), Bytes: p.Bytes, Estimated: p.Estimated, Files: p.Files, BytesPerSecond: p.BytesPerSecond}
		if i < maxProducers { // the others are counted
			row.Name = logName(p.Workload, p.Path)
		}
		rows = append(rows, row)
	}
	return rows
}

func rate(p logs.Producer) float64 {
	if p.BytesPerSecond == nil {
		return 0
	}
	return *p.BytesPerSecond
}

// logName is the workload that writes a log, or the log's path.
func logName(w workload.Workload, path string) string {
	if name := workload.Name(w.Namespace, w.Pod, w.Container, w.Unit); name != "" {
		return shorten(name)
	}
	return shorten(path)
}

// collectors sums up the logs of each process that reads some: the stalled ones
// first, then those that are furthest behind.
func collectors(in Input) []Collector {
	u, ok := diskUsage(in)
	if !ok {
		return nil
	}
	type process struct {
		pid   int
		start uint64
	}
	followed := map[string]bool{} // live logs of containers
	containers := map[process]map[string]bool{}
	rows := map[process]*Collector{}
	var order []process
	for _, r := range u.Readers {
		if r.Interactive {
			continue
		}
		at := process{r.PID, r.Start}
		c := rows[at]
		if c == nil {
			name := safetext.String(r.Comm)
			if w := workload.Name(r.Who.Namespace, r.Who.Pod, r.Who.Container, r.Who.Unit); w != "" {
				name += " of " + w
			}
			c = &Collector{Name: shorten(name), PID: r.PID}
			rows[at], containers[at] = c, map[string]bool{}
			order = append(order, at)
		}
		c.Logs++
		if r.Log.Pod != "" && !r.Deleted {
			name := r.Log.Namespace + "/" + r.Log.Pod + ":" + r.Log.Container
			followed[name], containers[at][name] = true, true
		}
		c.LagKnown = c.LagKnown || r.OffsetBytes != nil
		c.LagBytes += r.LagBytes
		c.PredictedLossBytes += r.PredictedLossBytes
		if r.StalledSince != nil {
			c.Stalled++
			if c.StalledSince == nil || r.StalledSince.Before(*c.StalledSince) {
				c.StalledSince = r.StalledSince
			}
		}
	}
	for _, f := range u.Unfollowed {
		followed[f.Namespace+"/"+f.Pod+":"+f.Container] = true
	}
	whole := u.Scan.Omitted["readers"] == 0 && u.Scan.Omitted["unfollowed"] == 0 && u.Scan.Unreadable == 0 && !u.Scan.ReadersOld
	all := make([]Collector, 0, len(order))
	for _, at := range order {
		c := rows[at]
		if n, seen := len(containers[at]), len(followed); whole && n > 0 {
			c.Containers, c.ContainersSeen = &n, &seen
		}
		all = append(all, *c)
	}
	slices.SortStableFunc(all, func(a, b Collector) int {
		return cmp.Or(cmp.Compare(b.Stalled, a.Stalled), cmp.Compare(b.LagBytes, a.LagBytes), cmp.Compare(b.Logs, a.Logs), cmp.Compare(a.PID, b.PID))
	})
	return all
}

func unreadLogs(in Input) []UnreadLog {
	u, ok := diskUsage(in)
	if !ok {
		return nil
	}
	var all []UnreadLog
	for _, f := range u.Unfollowed {
		all = append(all, UnreadLog{Name: logName(f.Workload, f.Path), SizeBytes: f.SizeBytes, GrewBytes: f.GrewBytes, Since: f.Since})
	}
	return all
}
