package reporter

import (
	"cmp"
	"slices"
)

// Omitted is something that a pass left out: beyond its budget of memory and
// time, or because it may not read it.
type Omitted struct {
	Source string `json:"source"` // the section: disk or inotify
	// Kind is one of a few words, for a metric; What is the same for people.
	Kind  string `json:"kind"`
	What  string `json:"what"`
	Count int    `json:"count"`
}

// skipped names the reasons of disk.Scan.Skipped. A file that went away during
// the pass is not listed: that is normal.
var skipped = map[string]string{
	"denied":   "directories or files that may not be listed",
	"escape":   "links, mounts or paths out of a log directory",
	"too_many": "files or directories beyond the bound of a scan",
	"too_deep": "directories nested too deeply",
	"error":    "directories or files that could not be read",
	"special":  "FIFOs, sockets or devices",
}

// Omitted returns what the last passes left out, the most first.
func (s Snapshot) Omitted() []Omitted {
	var all []Omitted
	add := func(o Omitted) {
		if o.Count > 0 {
			all = append(all, o)
		}
	}
	if s.Disk.Err == nil {
		for list, n := range s.Disk.Value.Scan.Omitted {
			add(Omitted{"disk", list, "rows of the list " + list, n})
		}
		for reason, n := range s.Disk.Value.Scan.Skipped {
			if reason != "gone" {
				add(Omitted{"disk", reason, cmp.Or(skipped[reason], reason), n})
			}
		}
		add(Omitted{"disk", "later_processes", "processes that the walk for readers of logs has not come to yet", s.Disk.Value.Scan.Later})
		add(Omitted{"disk", "unreadable_processes", "processes whose open logs could not be read", s.Disk.Value.Scan.Unreadable})
	}
	if s.Inotify.Err == nil {
		for _, g := range s.Inotify.Value.Unknown {
			add(Omitted{"inotify", "processes", g.What, g.Processes})
		}
	}
	slices.SortFunc(all, func(a, b Omitted) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.What, b.What))
	})
	return all
}
