package text

import (
	"fmt"
	"io"
	"strings"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// Table writes what apply and restore did for people. The caller knows whether w
// is a terminal that shows colour.
func Table(w io.Writer, s reporter.Snapshot, colour bool) error {
	var b strings.Builder
	if !s.Sysctl.At.IsZero() {
		sysctlTable(&b, s, colour)
	}
	if s.Persist != nil {
		persistedTable(&b, s.Persist, colour)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func sysctlTable(b *strings.Builder, snapshot reporter.Snapshot, colour bool) {
	r := snapshot.Sysctl
	if r.Err != nil {
		fmt.Fprintf(b, "sysctl: %v\n", r.Err)
		return
	}
	sysctlRows(b, snapshot, colour)
	for _, s := range r.Value.Rules {
		if s.Reason != "" && s.Outcome != sysctl.InForce {
			fmt.Fprintf(b, "\n%s: %s\n", s.Key, s.Reason)
		}
	}
	for _, warning := range r.Value.Warnings {
		fmt.Fprintf(b, "\n%s %s\n", paint(colour, yellow, "warning:"), warning)
	}
}

// sysctlRows writes a row for each rule.
func sysctlRows(b *strings.Builder, snapshot reporter.Snapshot, colour bool) {
	r := snapshot.Sysctl
	pausedLine(b, r.Value.Paused, colour)
	rows := [][]cell{{{text: "KEY"}, {text: "VALUE"}, {text: "WANT"}, {text: "OUTCOME"}}}
	for _, s := range r.Value.Rules {
		value, outcome := cell{text: valueText(s)}, outcomeCell(s)
		if snapshot.DryRun && s.Outcome == sysctl.Drifted && r.Value.Paused == "" {
			value.text = fmt.Sprintf("%s -> %s", s.Value, s.Want)
			outcome.text += " (would change)"
		}
		if s.Op == sysctl.Restore && s.Outcome == sysctl.Drifted && s.Reason == "" {
			value.text = fmt.Sprintf("%s -> %s", s.Value, s.Want)
			outcome.text = "would be restored"
		}
		rows = append(rows, []cell{{text: string(s.Key)}, value, {text: wantText(s.Rule)}, outcome})
	}
	writeRows(b, rows, colour)
}

// pausedLine warns that the file at stops every write, if at is not empty.
func pausedLine(b *strings.Builder, at string, colour bool) {
	if at != "" {
		fmt.Fprintf(b, "%s\n\n", paint(colour, yellow, "PAUSED: nodetune writes nothing while "+at+" exists"))
	}
}

func valueText(s sysctl.Status) string {
	switch {
	case !s.Value.Known():
		return "-"
	case s.Changed:
		return fmt.Sprintf("%s -> %s", s.Before, s.Value)
	}
	return s.Value.String()
}

func wantText(r sysctl.Rule) string {
	switch r.Op {
	case sysctl.AtLeast:
		return ">= " + r.Want.String()
	case sysctl.Exactly, sysctl.Restore:
		return "= " + r.Want.String()
	}
	return "-"
}

func outcomeCell(s sysctl.Status) cell {
	switch {
	case s.Op == sysctl.Report && s.Outcome == sysctl.InForce:
		return cell{text: "reported only"}
	case s.Outcome == sysctl.InForce && s.Changed:
		return cell{text: "InForce (changed)", paint: green}
	case s.Outcome == sysctl.InForce:
		return cell{text: "InForce", paint: green}
	case s.Outcome == sysctl.Absent:
		return cell{text: "Absent"}
	case s.Outcome == sysctl.Drifted:
		return cell{text: "Drifted", paint: yellow}
	}
	return cell{text: string(s.Outcome), paint: red}
}
