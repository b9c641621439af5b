package reporter

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
)

// HoldersTable writes who uses how much of which limit: the accounts, and the
// first rows processes (0: all that are listed).
func HoldersTable(w io.Writer, r Result[inotify.Usage], rows int, colour bool) error {
	var b strings.Builder
	inotifyTable(&b, r, rows, colour)
	_, err := io.WriteString(w, b.String())
	return err
}

func inotifyTable(b *strings.Builder, r Result[inotify.Usage], rows int, colour bool) {
	if r.Err != nil {
		fmt.Fprintf(b, "inotify: %v\n", r.Err)
		return
	}
	u := r.Value
	if rows <= 0 {
		rows = max(len(u.Accounts), len(u.Processes))
	}
	table := [][]cell{{{text: "USERNS"}, {text: "UID"}, {text: "INSTANCES"}, {text: "%"}, {text: "WATCHES"}, {text: "%"}}}
	for _, a := range u.Accounts[:min(rows, len(u.Accounts))] {
		userns := strconv.FormatUint(a.UserNS, 10)
		if a.UserNS == initialUserNS {
			userns = "initial"
		}
		table = append(table, []cell{
			{text: userns},
			{text: strconv.FormatUint(uint64(a.UID), 10)},
			{text: figure(a.Instances, a.InstancesQuality) + "/" + limitText(a.InstancesLimit)},
			{text: percentText(a.Instances, a.InstancesLimit), paint: heat(a.InstancesLimit.Percent(a.Instances))},
			{text: figure(a.Watches, a.WatchesQuality) + "/" + limitText(a.WatchesLimit)},
			{text: percentText(a.Watches, a.WatchesLimit), paint: heat(a.WatchesLimit.Percent(a.Watches))},
		})
	}
	writeRows(b, table, colour)
	more(b, len(u.Accounts)-rows, "users")
	table = [][]cell{{{text: "PID"}, {text: "UID"}, {text: "COMM"}, {text: "INSTANCES"}, {text: "WATCHES"}, {text: "FDS/NOFILE"}, {text: "POD OR UNIT"}}}
	for _, p := range u.Processes[:min(rows, len(u.Processes))] {
		watches := figure(p.Watches, p.WatchesQuality)
		if p.WatchesAgeSeconds > 0 {
			watches += fmt.Sprintf(" (%s ago)", time.Duration(p.WatchesAgeSeconds)*time.Second)
		}
		table = append(table, []cell{
			{text: strconv.Itoa(p.PID)},
			{text: strconv.FormatUint(uint64(p.UID), 10)},
			{text: safetext.String(p.Comm)},
			{text: figure(p.Instances, p.Quality)},
			{text: watches},
			{text: strconv.FormatInt(p.FDs, 10) + "/" + limitText(p.NOFILESoft), paint: heat(p.NOFILESoft.Percent(p.FDs))},
			{text: Who(p.Namespace, p.Pod, p.Container, p.Unit)},
		})
	}
	b.WriteString("\n")
	writeRows(b, table, colour)
	more(b, len(u.Processes)-rows, "processes")
	gaps(b, u.Unknown)
}

func more(b *strings.Builder, n int, what string) {
	if n > 0 {
		fmt.Fprintf(b, "... and %d more %s\n", n, what)
	}
}
