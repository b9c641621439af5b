package page

import (
	"fmt"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

type producer = logs.Producer

// summary is the state of the node and its first sentence.
func summary(in Input, s Status) (State, string) {
	if rows := s.Troubles.Rows; len(rows) > 0 {
		return rows[0].State, rows[0].Summary
	}
	r, ok := sysctlResult(in)
	if !ok {
		return Starting, "Starting: no pass over the settings has ended yet"
	}
	n := 0
	for _, rule := range r.Rules {
		if rule.Op != sysctl.Report && rule.Outcome == sysctl.InForce {
			n++
		}
	}
	sentence := fmt.Sprintf("Healthy: %d limits in force", n)
	if n == 1 {
		sentence = "Healthy: 1 limit in force"
	}
	if near, ok := nearest(s.Limits.Rows); ok {
		sentence += fmt.Sprintf(", nearest of the node is %s at %.0f %%", near.Name, floor(near.Percent))
	}
	return Healthy, sentence
}

// nearest is the fullest limit that has a figure.
func nearest(all []Limit) (Limit, bool) {
	for _, l := range all { // the fullest first
		if l.Quality != inotify.Unknown && l.Limit >= 0 && l.Resource != inotify.NOFILE {
			return l, true
		}
	}
	return Limit{}, false
}

// notices need nothing now.
func notices(in Input) []Notice {
	var all []Notice
	add := func(do, format string, args ...any) {
		all = append(all, Notice{Text: shorten(fmt.Sprintf(format, args...)), Do: shorten(do)})
	}
	if r, ok := sysctlResult(in); ok {
		for _, w := range r.Warnings {
			add("", "%s", w)
		}
		if r.GuardReason != "" {
			add("", "the sysctl guard is %s: %s", r.Guard, r.GuardReason)
		}
	}
	if u, ok := diskUsage(in); ok {
		for _, f := range u.Findings {
			if f.Severity == disk.SeverityWarning {
				add(f.Do, "%s", f.Message)
			}
		}
		orphans := uint64(0)
		for _, o := range u.Orphans {
			orphans += o.Bytes
		}
		if n := len(u.Orphans); n > 0 {
			add(in.nodetune("disk"), "%s, %s, of pods that this node does not have", field.Count(n, "directory of logs", "directories of logs"), field.Size(orphans))
		}
		for _, c := range u.Corrupt {
			add("", "the archive %s cannot be read to its end: %s", c.Path, c.Error)
		}
	}
	if u, ok := inotifyUsage(in); ok {
		if u.SourceReason != "" {
			add("", "users are counted by their processes, not by the kernel: %s", u.SourceReason)
		}
		if n := len(u.Unknown); n > 0 {
			add(in.nodetune("top --once"), "%s not known, or an estimate", field.Count(n, "figure is", "figures are"))
		}
	}
	for _, o := range in.Snapshot.Omitted() {
		add("", "left out: %s: %d (%s)", o.What, o.Count, o.Source)
	}
	if refused := text.RefusedClientsText(in.Snapshot.RefusedClients); refused != "" {
		add("", "%s", refused)
	}
	if p := in.Snapshot.NodePolicy; p != nil && p.State == reporter.NodePolicyNotEnforced {
		add("", "the API server lets this agent's token write other Nodes: %s", p.Reason)
	}
	return all
}
