package show

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/view"
)

// Verdict is what a report comes to.
type Verdict int

// The verdicts. Unseen is that nothing is wrong as far as the agent could see.
const (
	Fine Verdict = iota
	Unmet
	Unseen
)

// Judge returns what r comes to, by the rules of `nodetune check`.
func Judge(r *view.Report) Verdict {
	unmet := r.Sysctl != nil && slices.ContainsFunc(r.Sysctl.Rules, func(rule view.Rule) bool { return !rule.Satisfied() }) ||
		r.Inotify != nil && slices.ContainsFunc(r.Inotify.Findings, func(p view.Pressure) bool { return p.Pressure && p.Level == 0 }) ||
		r.Disk != nil && r.Disk.Pressure.Level == "bad"
	switch {
	case unmet:
		return Unmet
	case len(r.Errors) > 0 || r.Sysctl == nil || r.Inotify == nil:
		return Unseen
	}
	return Fine
}

// Check writes the limits, what is nearly used up, and the findings.
func Check(w io.Writer, r *view.Report) error {
	if r.Sysctl == nil {
		if err := missing(w, r, "sysctl"); err != nil {
			return err
		}
	} else {
		t := newTable(w, "SETTING\tVALUE\tWANT\tOUTCOME\tREASON")
		for _, rule := range r.Sysctl.Rules {
			t.row(rule.Key, rule.Value, rule.Want, rule.Outcome, rule.Reason)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		if r.Sysctl.Paused != "" {
			fmt.Fprintf(w, "paused by %s: nodetune writes nothing\n", safetext.String(r.Sysctl.Paused))
		}
		for _, warning := range r.Sysctl.Warnings {
			fmt.Fprintf(w, "warning: %s\n", safetext.String(warning))
		}
	}
	if r.Inotify == nil {
		if err := missing(w, r, "inotify"); err != nil {
			return err
		}
	} else {
		for _, p := range r.Inotify.Findings {
			fmt.Fprintf(w, "%s\n", safetext.String(pressureText(p)))
		}
		gaps(w, r.Inotify.Unknown)
	}
	if d := r.Disk; d != nil {
		for _, a := range []view.Assessment{d.Pressure, d.Reading} {
			if a.Level != "" && a.Level != "clear" {
				fmt.Fprintf(w, "%s: %s: %s\n", safetext.String(a.Level), safetext.String(a.Reason), safetext.String(a.Message))
			}
		}
		for _, f := range d.Findings {
			if f.Severity == "info" {
				continue
			}
			fmt.Fprintf(w, "%s %s: %s\n", safetext.String(f.Reason), safetext.String(f.Path), safetext.String(f.Message))
		}
	}
	for _, section := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "not known: %s: %s\n", safetext.String(section), safetext.String(r.Errors[section]))
	}
	last := map[Verdict]string{Fine: "All limits are as wanted.", Unmet: "Something is not as wanted.", Unseen: "Nothing is wrong as far as the agent could see."}[Judge(r)]
	_, err := fmt.Fprintln(w, last)
	return err
}

func pressureText(p view.Pressure) string {
	text := p.Resource
	if p.Owner != nil {
		text += fmt.Sprintf(" of uid %d", p.Owner.UID)
	}
	text += fmt.Sprintf(": %d of %s (%.0f%%)", p.Used, limit(p.Limit), p.Percent)
	if p.Top != nil {
		text += fmt.Sprintf(", most by %s[%d] %s", p.Top.Comm, p.Top.PID, p.Top.Workload)
	}
	return text
}
