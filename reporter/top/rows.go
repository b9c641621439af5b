package top

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
)

// column is what the rows are sorted by.
type column int

const (
	byInstances column = iota
	byWatches
	byFDs
	byGrowth
	byPID
	byName
)

// columns has for each column the key that sorts by it and its order.
// Rows that are equal stay in the order of the pass: most instances first.
var columns = [...]struct {
	key, name string
	compare   func(r *reading, a, b *inotify.Process) int
}{
	byInstances: {"i", "instances", func(_ *reading, a, b *inotify.Process) int { return cmp.Compare(b.Instances, a.Instances) }},
	byWatches:   {"w", "watches", func(_ *reading, a, b *inotify.Process) int { return cmp.Compare(b.Watches, a.Watches) }},
	byFDs: {"f", "share of NOFILE", func(_ *reading, a, b *inotify.Process) int {
		return cmp.Compare(b.NOFILESoft.Percent(b.FDs), a.NOFILESoft.Percent(a.FDs))
	}},
	byGrowth: {"g", "growth", func(r *reading, a, b *inotify.Process) int {
		return cmp.Compare(r.holders[b.PID].most(), r.holders[a.PID].most())
	}},
	byPID:  {"p", "pid", func(_ *reading, a, b *inotify.Process) int { return cmp.Compare(a.PID, b.PID) }},
	byName: {"o", "pod or unit", func(_ *reading, a, b *inotify.Process) int { return cmp.Compare(belongs(a), belongs(b)) }},
}

func arrange(rows []*inotify.Process, r *reading, filter string, by column, reverse bool) []*inotify.Process {
	filter = strings.ToLower(filter)
	for i := range r.Processes {
		if p := &r.Processes[i]; matches(p, filter) {
			rows = append(rows, p)
		}
	}
	slices.SortStableFunc(rows, func(a, b *inotify.Process) int { return columns[by].compare(r, a, b) })
	if reverse {
		slices.Reverse(rows)
	}
	return rows
}

// matches reports whether the row has the text, as it is shown.
func matches(p *inotify.Process, lower string) bool {
	if lower == "" {
		return true
	}
	for _, s := range [...]string{strconv.Itoa(p.PID), strconv.FormatUint(uint64(p.UID), 10), p.Comm, belongs(p)} {
		if s != "" && strings.Contains(strings.ToLower(safetext.String(s)), lower) {
			return true
		}
	}
	return false
}

// belongs names the pod and container, or the unit.
func belongs(p *inotify.Process) string {
	return workload.Name(p.Namespace, p.Pod, p.Container, p.Unit)
}
