package text

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// CheckOptions are how [CheckReport] writes.
type CheckOptions struct {
	// Policy has the ceilings of the agent.
	Policy inotify.Policy
	// Command is how nodetune is run on this node, "" for "sudo nodetune": the line to run
	// next begins with it.
	Command string
	// Verbose also shows findings that need nothing, which are counted otherwise.
	Verbose, Colour bool
}

// CheckReport writes s for people: the tables, the findings in order of urgency,
// and a verdict with the next command.
func CheckReport(w io.Writer, s reporter.Snapshot, o CheckOptions) error {
	var b strings.Builder
	checkTables(&b, s, o.Colour)
	quiet := 0
	for _, n := range notes(s) {
		if n.urgency == needsNothing && !o.Verbose {
			quiet++
			continue
		}
		b.WriteString("\n")
		if n.label != "" {
			b.WriteString(paint(o.Colour, n.urgency.color(), n.label) + " ")
		}
		b.WriteString(n.text + "\n")
	}
	if quiet > 0 {
		fmt.Fprintf(&b, "\n%s: --verbose shows them\n", field.Count(quiet, "more finding needs nothing", "more findings need nothing"))
	}
	if s.WorstCase != nil {
		fmt.Fprintf(&b, "\nmemory: %s\n", s.WorstCase)
	}
	if line := PodRoomText(s.PodRoom(o.Policy)); line != "" {
		fmt.Fprintf(&b, "\npods: %s\n", line)
	}
	nodePolicyLine(&b, s.NodePolicy, o.Colour)
	b.WriteString("\n" + verdict(s, o.Command) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func checkTables(b *strings.Builder, s reporter.Snapshot, colour bool) {
	if !s.Sysctl.At.IsZero() && s.Sysctl.Err == nil {
		sysctlRows(b, s, colour)
	}
	if !s.Inotify.At.IsZero() && s.Inotify.Err == nil {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		holderRows(b, s.Inotify.Value, sectionRows, colour)
	}
	if !s.Disk.At.IsZero() && s.Disk.Err == nil {
		filesystemTable(b, s.Disk.Value.Filesystems, colour)
		producerTable(b, s.Disk.Value.Producers, sectionRows, colour)
	}
}

// urgency orders findings.
type urgency int

const (
	failing      urgency = iota // lines or calls are lost now
	unmet                       // a limit is not as wanted, or nearly used up
	unknown                     // it may be worse than it looks
	laterOn                     // it will go wrong under load
	needsNothing                // for information
)

func (u urgency) color() string {
	switch u {
	case failing:
		return red
	case needsNothing:
		return ""
	}
	return yellow
}

// note is one finding of check.
type note struct {
	urgency     urgency
	label, text string
}

// notes returns the findings of every section, the most urgent first.
func notes(s reporter.Snapshot) []note {
	var all []note
	for _, section := range []struct {
		name string
		err  error
	}{{"sysctl", s.Sysctl.Err}, {"inotify", s.Inotify.Err}, {"disk", s.Disk.Err}} {
		if section.err != nil {
			all = append(all, note{failing, section.name + ":", safetext.String(section.err.Error())})
		}
	}
	if s.Sysctl.Err == nil {
		all = append(all, sysctlNotes(s.Sysctl.Value)...)
	}
	if s.Inotify.Err == nil {
		all = append(all, inotifyNotes(s.Inotify.Value)...)
	}
	if s.Disk.Err == nil {
		all = append(all, diskNotes(s.Disk.Value)...)
	}
	all = append(all, agentNotes(s)...)
	if refused := RefusedClientsText(s.RefusedClients); refused != "" {
		all = append(all, note{needsNothing, "", refused})
	}
	if left := s.Omitted(); len(left) > 0 {
		all = append(all, note{unknown, "left out:", omittedText(left)})
	}
	slices.SortStableFunc(all, func(a, b note) int { return cmp.Compare(a.urgency, b.urgency) })
	return all
}

func sysctlNotes(r sysctl.PassResult) []note {
	var all []note
	for _, s := range r.Rules {
		if s.Reason == "" || s.Outcome == sysctl.InForce {
			continue
		}
		n := note{unmet, "", string(s.Key) + ": " + s.Reason}
		if s.Satisfied() {
			n.urgency = needsNothing
		}
		all = append(all, n)
	}
	for _, warning := range r.Warnings {
		all = append(all, note{laterOn, "warning:", warning})
	}
	if r.Guard != "" {
		all = append(all, note{needsNothing, "guard:", guardText(r.Guard, r.GuardReason)})
	}
	return all
}

func inotifyNotes(u inotify.Usage) []note {
	var all []note
	if u.RefusalsSource != "" {
		all = append(all, note{needsNothing, "failed calls:", tracingText(u.RefusalSource)})
	}
	failures := LimitFailures(u.Refusals)
	for _, f := range failures[:min(len(failures), failureRows)] {
		all = append(all, note{failing, "refused:", SyscallFailureText(f)})
	}
	if n := len(failures) - failureRows; n > 0 {
		all = append(all, note{failing, "refused:", fmt.Sprintf("and %d more", n)})
	}
	for _, f := range u.Findings {
		if f.Pressure {
			all = append(all, note{unmet, "pressure:", findingText(f)})
		}
	}
	if u.Unseen != "" {
		all = append(all, note{unknown, "unknown:", "an account may be at its limit: " + safetext.String(u.Unseen)})
	}
	for _, text := range holderNotes(u) {
		all = append(all, note{needsNothing, "", text})
	}
	if n := len(u.Unknown); n > 0 {
		all = append(all, note{needsNothing, "", fmt.Sprintf("%s not known (~ estimate, ≤ at most, ? unknown): 'nodetune top --once' lists them", field.Count(n, "thing is", "things are"))})
	}
	return all
}

func diskNotes(u disk.Usage) []note {
	var all []note
	for _, a := range []disk.Assessment{u.Pressure, u.Reading} {
		if a.Severity == disk.Bad {
			all = append(all, note{failing, "pressure:", safetext.String(a.Message)})
		}
	}
	for _, o := range u.Orphans {
		all = append(all, note{laterOn, "orphan:", fmt.Sprintf("%s holds %s of a pod that this node does not have, unchanged since %s",
			safetext.String(o.Path), field.Size(o.Bytes), timestamp(o.Modified))})
	}
	for _, c := range u.Corrupt {
		all = append(all, note{laterOn, "corrupt:", fmt.Sprintf("%s (%s): %s", safetext.String(c.Path), field.Size(c.Bytes), c.Error)})
	}
	for _, f := range u.Findings {
		n := note{needsNothing, f.Severity + ":", safetext.String(f.Message) + "\n    " + safetext.String(f.Do)}
		if f.Severity == disk.SeverityWarning {
			n.urgency = laterOn
		}
		all = append(all, n)
	}
	return all
}

// omittedRows is how many kinds are shown: the rest is in the document.
const omittedRows = 5

func omittedText(left []reporter.Omitted) string {
	var parts []string
	for _, o := range left[:min(len(left), omittedRows)] {
		parts = append(parts, fmt.Sprintf("%s: %d (%s)", safetext.String(o.What), o.Count, o.Source))
	}
	text := strings.Join(parts, ", ")
	if n := len(left) - omittedRows; n > 0 {
		text += " and " + field.Count(n, "more kind", "more kinds")
	}
	return text
}
