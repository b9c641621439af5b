package text

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
)

// HoldersTable writes how much of each limit the accounts use, the first rows
// processes (0: all that are listed), and what is not known.
func HoldersTable(w io.Writer, u inotify.Usage, rows int, colour bool) error {
	var b strings.Builder
	holderRows(&b, u, rows, colour)
	for _, note := range holderNotes(u) {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	findings(&b, u, colour)
	recentFailures(&b, u.Refusals, colour)
	gaps(&b, u.Unknown)
	_, err := io.WriteString(w, b.String())
	return err
}

// sectionRows is how many users and processes check shows: top shows more.
const sectionRows = 5

// findings names the accounts and processes under pressure.
func findings(b *strings.Builder, u inotify.Usage, colour bool) {
	for _, f := range u.Findings {
		if f.Pressure {
			fmt.Fprintf(b, "\n%s %s\n", paint(colour, yellow, "pressure:"), findingText(f))
		}
	}
}

// failureRows is how many failed calls are shown: the rest is in the document.
const failureRows = 5

// recentFailures names the processes whose calls a limit made fail.
func recentFailures(b *strings.Builder, all []inotify.SyscallFailure, colour bool) {
	met := LimitFailures(all)
	for _, f := range met[:min(len(met), failureRows)] {
		fmt.Fprintf(b, "\n%s %s\n", paint(colour, red, "refused:"), SyscallFailureText(f))
	}
	more(b, len(met)-failureRows, "refusal", "refusals")
}

func findingText(f inotify.LimitPressure) string {
	use := fmt.Sprintf("%s of %s (%s)", FormatCount(f.Used, f.Quality), limitText(f.Limit), percentText(f.Used, f.Limit))
	top, most := "a process", ""
	if f.Top != nil {
		top = fmt.Sprintf("%s[%d]", safetext.String(f.Top.Comm), f.Top.PID)
		if name := workload.Name(f.Top.Namespace, f.Top.Pod, f.Top.Container, f.Top.Unit); name != "" {
			top += " of " + name
		}
		most = ", most of them " + top
	}
	switch f.Resource {
	case inotify.NOFILE:
		return fmt.Sprintf("%s has %s descriptors open: past that errno 24, which no sysctl mends; see 'nodetune why'", top, use)
	case inotify.OpenFiles:
		return fmt.Sprintf("the node has %s open files%s: past that errno 23 for every process without CAP_SYS_ADMIN", use, most)
	}
	user := fmt.Sprintf("uid %d", f.Owner.UID)
	if !f.OfNode() {
		user += fmt.Sprintf(" of user namespace %d, which has limits of its own,", f.Owner.UserNS)
	}
	if f.Resource == inotify.Watches {
		return fmt.Sprintf("%s has %s inotify watches%s: past that errno 28, and collectors of this user follow no new file", user, use, most)
	}
	return fmt.Sprintf("%s has %s inotify instances%s: past that errno 24, and no collector of this user starts", user, use, most)
}

func holderRows(b *strings.Builder, u inotify.Usage, rows int, colour bool) {
	if rows <= 0 {
		rows = max(len(u.Accounts), len(u.Processes))
	}
	table := [][]cell{{{text: "USERNS"}, {text: "UID"}, {text: "INSTANCES"}, {text: "%"}, {text: "WATCHES"}, {text: "%"}}}
	for _, a := range u.Accounts[:min(rows, len(u.Accounts))] {
		table = append(table, []cell{
			{text: UserNS(a.UserNS)},
			{text: strconv.FormatUint(uint64(a.UID), 10)},
			{text: FormatCount(a.Instances, a.InstancesQuality) + "/" + limitText(a.InstancesLimit)},
			{text: shareText(a.Instances, a.InstancesQuality, a.InstancesLimit), paint: severityColor(a.InstancesLimit.Percent(a.Instances))},
			{text: FormatCount(a.Watches, a.WatchesQuality) + "/" + limitText(a.WatchesLimit)},
			{text: shareText(a.Watches, a.WatchesQuality, a.WatchesLimit), paint: severityColor(a.WatchesLimit.Percent(a.Watches))},
		})
	}
	if len(u.Accounts) > 0 {
		writeRows(b, table, colour)
	} else {
		b.WriteString("no process that could be read holds an inotify instance\n")
	}
	more(b, len(u.Accounts)-rows, "user", "users")
	table = [][]cell{{{text: "PID"}, {text: "UID"}, {text: "COMM"}, {text: "INSTANCES"}, {text: "WATCHES"}, {text: "FDS/NOFILE"}, {text: "POD OR UNIT"}}}
	events := u.HoldersSource == inotify.SourceWalk // procfs does not show them
	if events {
		table[0] = slices.Insert(table[0], eventsColumn, cell{text: "EVENTS"})
	}
	for _, p := range u.Processes[:min(rows, len(u.Processes))] {
		watches := FormatCount(p.Watches, p.WatchesQuality)
		if p.WatchesAgeSeconds > 0 {
			watches += " (" + HumanDuration(time.Duration(p.WatchesAgeSeconds)*time.Second) + " ago)"
		}
		row := []cell{
			{text: strconv.Itoa(p.PID)},
			{text: strconv.FormatUint(uint64(p.UID), 10)},
			{text: safetext.String(p.Comm)},
			{text: FormatCount(p.Instances, p.Quality)},
			{text: watches},
			{text: strconv.FormatInt(p.FDs, 10) + "/" + limitText(p.NOFILESoft), paint: severityColor(p.NOFILESoft.Percent(p.FDs))},
			{text: workload.Name(p.Namespace, p.Pod, p.Container, p.Unit)},
		}
		if events {
			row = slices.Insert(row, eventsColumn, eventsCell(p))
		}
		table = append(table, row)
	}
	if len(u.Processes) > 0 {
		b.WriteString("\n")
		writeRows(b, table, colour)
	}
	more(b, len(u.Processes)-rows, "process", "processes")
}

// holderNotes explains where the figures are from.
func holderNotes(u inotify.Usage) []string {
	var notes []string
	if u.SourceReason != "" {
		notes = append(notes, "users are counted by their processes, not by the kernel: "+safetext.String(u.SourceReason))
	}
	if u.HoldersReason != "" && u.HoldersReason != u.SourceReason {
		notes = append(notes, "processes are read from procfs, not from the kernel's descriptor tables: "+safetext.String(u.HoldersReason))
	}
	if u.InstancesUnattributed > 0 {
		notes = append(notes, field.Count(int(u.InstancesUnattributed), "instance is", "instances are")+" in no process: sent through a socket and not received, or made or closed meanwhile")
	}
	return notes
}

// eventsColumn is after the watches.
const eventsColumn = 5

// eventsCell is how many events wait to be read, of how many that may wait.
func eventsCell(p inotify.Process) cell {
	if p.QueuedEvents == 0 {
		return cell{text: "0"}
	}
	return cell{
		text:  fmt.Sprintf("%d/%d", p.QueuedEvents, p.QueuedEventsLimit),
		paint: severityColor(inotify.Limit(p.QueuedEventsLimit).Percent(p.QueuedEvents)),
	}
}

func more(b *strings.Builder, n int, one, many string) {
	if n > 0 {
		fmt.Fprintf(b, "... and %s\n", field.Count(n, "more "+one, "more "+many))
	}
}
