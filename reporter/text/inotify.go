package text

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
)

// HoldersTable writes who uses how much of which limit: the accounts, and the
// first rows processes (0: all that are listed), and what is not known.
func HoldersTable(w io.Writer, u inotify.Usage, rows int, colour bool) error {
	var b strings.Builder
	holdersTable(&b, u, rows, colour)
	findings(&b, u, colour)
	recentFailures(&b, u.Refusals, colour)
	gaps(&b, u.Unknown)
	_, err := io.WriteString(w, b.String())
	return err
}

// sectionRows is how many users and processes check shows: `top` shows more.
const sectionRows = 5

func inotifySection(b *strings.Builder, r reporter.Result[inotify.Usage], colour bool) {
	if r.Err != nil {
		fmt.Fprintf(b, "inotify: %v\n", r.Err)
		return
	}
	holdersTable(b, r.Value, sectionRows, colour)
	findings(b, r.Value, colour)
	recentFailures(b, r.Value.Refusals, colour)
	if n := len(r.Value.Unknown); n > 0 {
		fmt.Fprintf(b, "\n%s not known (~ estimate, ≤ at most, ? unknown): 'nodetune top --once' says which\n", countNoun(n, "thing is", "things are"))
	}
}

// findings names who is over the share that counts as pressure.
func findings(b *strings.Builder, u inotify.Usage, colour bool) {
	for _, f := range u.Findings {
		if f.Pressure {
			fmt.Fprintf(b, "\n%s %s\n", paint(colour, yellow, "pressure:"), findingText(f))
		}
	}
}

// failureRows is how many refusals are shown: the rest is in the document.
const failureRows = 5

// recentFailures names whom a limit has refused.
func recentFailures(b *strings.Builder, all []inotify.SyscallFailure, colour bool) {
	met := LimitFailures(all)
	for _, f := range met[:min(len(met), failureRows)] {
		fmt.Fprintf(b, "\n%s %s\n", paint(colour, red, "refused:"), SyscallFailureText(f))
	}
	more(b, len(met)-failureRows, "refusals")
}

func findingText(f inotify.LimitPressure) string {
	use := fmt.Sprintf("%s of %s (%s)", FormatCount(f.Used, f.Quality), limitText(f.Limit), percentText(f.Used, f.Limit))
	top, most := "somebody", ""
	if f.Top != nil {
		top = fmt.Sprintf("%s[%d]", safetext.String(f.Top.Comm), f.Top.PID)
		if who := workload.Name(f.Top.Namespace, f.Top.Pod, f.Top.Container, f.Top.Unit); who != "" {
			top += " of " + who
		}
		most = ", most of them " + top
	}
	switch f.Resource {
	case inotify.NOFILE:
		return fmt.Sprintf("%s has %s descriptors open: past that errno 24, which no sysctl cures; see 'nodetune why'", top, use)
	case inotify.OpenFiles:
		return fmt.Sprintf("the node has %s open files%s: past that errno 23 for everybody without CAP_SYS_ADMIN", use, most)
	case inotify.Watches:
		return fmt.Sprintf("uid %d has %s inotify watches%s: past that errno 28, and collectors of this user follow no new file", f.Owner.UID, use, most)
	}
	return fmt.Sprintf("uid %d has %s inotify instances%s: past that errno 24, and no collector of this user starts", f.Owner.UID, use, most)
}

func holdersTable(b *strings.Builder, u inotify.Usage, rows int, colour bool) {
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
	more(b, len(u.Accounts)-rows, "users")
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
	more(b, len(u.Processes)-rows, "processes")
	if u.SourceReason != "" {
		fmt.Fprintf(b, "\nusers are counted by their processes, not by the kernel: %s\n", safetext.String(u.SourceReason))
	}
	if u.HoldersReason != "" && u.HoldersReason != u.SourceReason {
		fmt.Fprintf(b, "\nprocesses are read from procfs, not from the kernel's descriptor tables: %s\n", safetext.String(u.HoldersReason))
	}
	if u.InstancesUnattributed > 0 {
		fmt.Fprintf(b, "\n%s in no process: sent through a socket and not received, or made or closed meanwhile\n", countNoun(int(u.InstancesUnattributed), "instance is", "instances are"))
	}
}

// eventsColumn is after the watches.
const eventsColumn = 5

// eventsCell says how many events wait to be read, and of how many that may.
func eventsCell(p inotify.Process) cell {
	if p.QueuedEvents == 0 {
		return cell{text: "0"}
	}
	return cell{
		text:  fmt.Sprintf("%d/%d", p.QueuedEvents, p.QueuedEventsLimit),
		paint: severityColor(inotify.Limit(p.QueuedEventsLimit).Percent(p.QueuedEvents)),
	}
}

func more(b *strings.Builder, n int, what string) {
	if n > 0 {
		fmt.Fprintf(b, "... and %d more %s\n", n, what)
	}
}
