package top

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/text"
)

// item is a row of a list other than that of processes.
type item struct {
	line string
	heat float64 // percent of the limit that is used most
	pid  int     // whose diagnosis Enter shows
	find string  // the filter of processes that Enter sets
	page string  // that Enter shows, where it is not the line
}

// items are the rows of the tab that have the text of the filter.
func (m *model) items() []item {
	var all []item
	switch m.tab {
	case accountsTab:
		all = m.accountItems()
	case podsTab:
		all = m.podItems()
	case disksTab:
		all = m.diskItems()
	case actsTab:
		all = m.actItems()
	}
	if m.filter == "" {
		return all
	}
	filter := strings.ToLower(m.filter)
	return slices.DeleteFunc(all, func(i item) bool { return !strings.Contains(strings.ToLower(i.line), filter) })
}

// listHeader is the header of the tab.
func (m *model) listHeader() string {
	switch m.tab {
	case accountsTab:
		return m.accountLine("UID", "USERNS", "INSTANCES", "", "%", "WATCHES", "", m.watchesShare(), "FULL IN")
	case podsTab:
		return m.podLine("PROCS", "INST", "WATCHES", "FDS", "POD OR UNIT")
	case disksTab:
		return "what nodetune disk shows"
	case actsTab:
		return m.actLine("TIME", "ON", "WHAT THE AGENT DID, AND WHY")
	}
	return ""
}

func (m *model) accountItems() (all []item) {
	if m.usage == nil {
		return nil
	}
	for _, a := range m.usage.Accounts {
		full := ""
		if g := m.usage.owners[a.Owner]; g.full > 0 {
			full = text.HumanDuration(g.full)
		}
		instances, watches := a.InstancesLimit.Percent(a.Instances), a.WatchesLimit.Percent(a.Watches)
		pid := a.TopPID
		if watches > instances {
			pid = a.TopWatchesPID
		}
		all = append(all, item{
			line: m.accountLine(strconv.FormatUint(uint64(a.UID), 10), text.UserNS(a.UserNS),
				of(a.Instances, a.InstancesLimit, a.InstancesQuality), limitBar(a.InstancesLimit, a.Instances), percent(a.InstancesLimit, a.Instances),
				of(a.Watches, a.WatchesLimit, a.WatchesQuality), limitBar(a.WatchesLimit, a.Watches), percent(a.WatchesLimit, a.Watches), full),
			heat: max(instances, watches),
			pid:  pid,
		})
	}
	return all
}

// accountLine gives up the namespace below 100 columns, and the bar of watches
// and their number below 80.
func (m *model) accountLine(uid, userns, instances, ibar, ishare, watches, wbar, wshare, full string) string {
	s := right(uid, 7) + " "
	if m.width >= 100 {
		s += left(userns, 10) + " "
	}
	s += right(instances, 11) + " "
	if m.width >= 50 {
		s += left(ibar, 12) + " "
	}
	s += right(ishare, 5) + " "
	if m.width < 80 {
		return s + right(wshare, 8)
	}
	return s + right(watches, 12) + " " + left(wbar, 12) + " " + right(wshare, 5) + " " + right(full, 7)
}

// total is what the processes of a pod or unit hold. Descriptors that they share
// count for each of them.
type total struct {
	name                    string
	processes               int
	instances, watches, fds int64
	quality, watchesQuality inotify.Quality
	heat                    float64
}

// podTotals sums up by pod, or by unit; most instances first.
func podTotals(processes []inotify.Process) []total {
	byName := map[string]*total{}
	for i := range processes {
		p := &processes[i]
		name := workload.Name(p.Namespace, p.Pod, "", p.Unit)
		t, ok := byName[name]
		if !ok {
			t = &total{name: name, quality: p.Quality, watchesQuality: p.WatchesQuality}
			byName[name] = t
		}
		t.processes++
		t.instances += p.Instances
		t.watches += p.Watches
		t.fds += p.FDs
		t.quality, t.watchesQuality = inotify.Worse(t.quality, p.Quality), inotify.Worse(t.watchesQuality, p.WatchesQuality)
		t.heat = max(t.heat, p.NOFILESoft.Percent(p.FDs))
	}
	all := make([]total, 0, len(byName))
	for _, t := range byName {
		if t.processes > 1 { // an instance that two of them share counts twice
			t.quality, t.watchesQuality = inotify.Worse(t.quality, inotify.UpperBound), inotify.Worse(t.watchesQuality, inotify.UpperBound)
		}
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b total) int {
		return cmp.Or(cmp.Compare(b.instances, a.instances), cmp.Compare(b.watches, a.watches), cmp.Compare(a.name, b.name))
	})
	return all
}

func (m *model) podItems() (all []item) {
	if m.usage == nil {
		return nil
	}
	for _, t := range podTotals(m.usage.Processes) {
		name := t.name
		if name == "" {
			name = "(no pod or unit)"
		}
		all = append(all, item{
			line: m.podLine(strconv.Itoa(t.processes), text.FormatCount(t.instances, t.quality), text.FormatCount(t.watches, t.watchesQuality), itoa(t.fds), name),
			heat: t.heat,
			find: t.name,
		})
	}
	return all
}

func (m *model) podLine(processes, instances, watches, fds, name string) string {
	s := ""
	if m.width >= 60 {
		s = right(processes, 5) + " "
	}
	s += right(instances, 6) + " " + right(watches, 8) + " "
	if m.width >= 60 {
		s += right(fds, 8) + " "
	}
	return s + name
}

// diskItems are the lines of the tables of `nodetune disk`.
func (m *model) diskItems() (all []item) {
	switch {
	case m.sources.Disk == nil:
		return []item{{line: "not measured here"}}
	case m.diskErr != nil:
		return []item{{line: "the last pass failed: " + safetext.String(m.diskErr.Error())}}
	case m.disk == nil:
		return []item{{line: "reading …"}}
	}
	var b strings.Builder
	_ = text.DiskTable(&b, *m.disk, 0, false)
	for line := range strings.Lines(strings.TrimSpace(b.String())) {
		all = append(all, item{line: strings.TrimRight(line, "\n")})
	}
	return all
}

// limitBar is empty where the limit is not known: unknown is not unused.
func limitBar(l inotify.Limit, used int64) string {
	if l < 0 {
		return ""
	}
	return bar(l.Percent(used), 10)
}

// bar is a bar of so many columns and brackets.
func bar(percent float64, columns int) string {
	full := min(int(percent/100*float64(columns)+0.5), columns)
	return "[" + strings.Repeat("|", full) + strings.Repeat(" ", columns-full) + "]"
}
