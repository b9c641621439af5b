package text

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
)

// DiskTable writes the filesystems, and the first rows (0: all) of the producers,
// the readers and the logs without a reader.
func DiskTable(w io.Writer, u disk.Usage, rows int, colour bool) error {
	var b strings.Builder
	filesystemTable(&b, u.Filesystems, colour)
	producerTable(&b, u.Producers, rows, colour)
	readerTable(&b, u.Readers, rows, colour)
	unreadLogTable(&b, u.Unfollowed, rows, colour)
	deletedTable(&b, u.Deleted, rows, colour)
	diskLeftovers(&b, u, colour)
	diskAlarms(&b, u, colour)
	diskGaps(&b, u.Scan)
	diskFindings(&b, u.Findings, colour)
	_, err := io.WriteString(w, b.String())
	return err
}

func header(names ...string) [][]cell {
	row := make([]cell, len(names))
	for i, n := range names {
		row[i].text = n
	}
	return [][]cell{row}
}

// first returns the first n of rows, all with n <= 0.
func first[T any](rows []T, n int) []T {
	if n <= 0 {
		return rows
	}
	return rows[:min(n, len(rows))]
}

func filesystemTable(b *strings.Builder, all []filesystem.Filesystem, colour bool) {
	if len(all) == 0 {
		return
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	table := header("FILESYSTEM", "TYPE", "SIZE", "AVAIL", "%", "INODES FREE", "GROWTH", "FULL IN", "EVICTION", "HOLDS")
	for _, f := range all {
		if !f.Measured() {
			table = append(table, []cell{
				{text: safetext.String(f.Path)},
				{text: safetext.String(f.Type)},
				{text: strings.ReplaceAll(string(f.State), "_", " "), paint: red},
				{text: safetext.String(f.Error)},
			})
			continue
		}
		inodes := "-"
		if f.Inodes > 0 {
			inodes = fmt.Sprintf("%.0f%%", f.InodesFreePercent())
		}
		table = append(table, []cell{
			{text: safetext.String(f.Path)},
			{text: safetext.String(f.Type)},
			{text: field.Size(f.SizeBytes)},
			{text: field.Size(f.AvailBytes)},
			{text: fmt.Sprintf("%.0f%%", f.AvailPercent()), paint: availColor(f.AvailPercent())},
			{text: inodes},
			{text: perSecond(f.GrowthBytesPerSecond)},
			{text: seconds(f.SecondsToFull)},
			{text: eviction(f)},
			{text: rolesText(f)},
		})
	}
	writeRows(b, table, colour)
}

// availColor colours what is left; the kubelet evicts below ten percent.
func availColor(percent float64) string {
	switch {
	case percent < 10:
		return red
	case percent < 20:
		return yellow
	}
	return ""
}

func rolesText(f filesystem.Filesystem) string {
	var words []string
	for _, r := range f.Roles {
		words = append(words, string(r))
	}
	if f.State != filesystem.StateOK {
		words = append(words, "("+strings.ReplaceAll(string(f.State), "_", " ")+")")
	}
	return strings.Join(words, " ")
}

func eviction(f filesystem.Filesystem) string {
	if f.EvictionAvailBytes == nil {
		return "-"
	}
	s := "below " + field.Size(*f.EvictionAvailBytes)
	if f.SecondsToEviction != nil {
		s += ", in " + seconds(f.SecondsToEviction)
	}
	return s
}

func perSecond(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v < 0:
		return "-" + field.Size(uint64(-*v)) + "/s"
	}
	return field.Size(uint64(*v)) + "/s"
}

// seconds writes a time to come, "-" where it does not come.
func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	return HumanDuration(time.Duration(min(*s, 1e9)) * time.Second)
}

func producerTable(b *strings.Builder, all []logs.Producer, rows int, colour bool) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n")
	table := header("BYTES", "RATE", "FILES", "KIND", "PRODUCER")
	for _, p := range first(all, rows) {
		files := strconv.Itoa(p.Files)
		size := field.Size(p.Bytes)
		if p.Estimated {
			size, files = "~"+size, "-"
		}
		table = append(table, []cell{
			{text: size}, {text: perSecond(p.BytesPerSecond)}, {text: files}, {text: string(p.Kind)}, {text: safetext.String(logName(p.Workload, p.Path))},
		})
	}
	writeRows(b, table, colour)
	moreRows(b, len(all), rows, "producer", "producers")
}

func readerTable(b *strings.Builder, all []logs.Reader, rows int, colour bool) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n")
	table := header("PID", "READER", "LAG", "OFFSET", "SIZE", "BY", "LOG")
	for _, r := range first(all, rows) {
		lag, offset := cell{text: "-"}, "-"
		if r.OffsetBytes != nil {
			lag.text, offset = field.Size(r.LagBytes), field.Size(*r.OffsetBytes)
		}
		if r.StalledSince != nil {
			lag.text, lag.paint = lag.text+" (stalled)", red
		}
		table = append(table, []cell{
			{text: strconv.Itoa(r.PID)},
			{text: safetext.String(reader(r))},
			lag,
			{text: offset},
			{text: field.Size(r.SizeBytes)},
			{text: attachment(r)},
			{text: safetext.String(logName(r.Log, r.Path))},
		})
	}
	writeRows(b, table, colour)
	moreRows(b, len(all), rows, "reader", "readers")
}

func reader(r logs.Reader) string {
	if name := workload.Name(r.Who.Namespace, r.Who.Pod, r.Who.Container, r.Who.Unit); name != "" {
		return r.Comm + " of " + name
	}
	return r.Comm
}

func attachment(r logs.Reader) string {
	switch {
	case r.Watched && r.Open:
		return "watch+open"
	case r.Watched:
		return "watch"
	}
	return "open"
}

func logName(w workload.Workload, path string) string {
	if name := workload.Name(w.Namespace, w.Pod, w.Container, w.Unit); name != "" {
		return name
	}
	return path
}

func unreadLogTable(b *strings.Builder, all []logs.Unfollowed, rows int, colour bool) {
	if len(all) == 0 {
		return
	}
	b.WriteString("\n")
	table := header("LOG WITHOUT READER", "SIZE", "GREW", "SINCE")
	for _, x := range first(all, rows) {
		since := "-"
		if x.Since != nil {
			since = timestamp(*x.Since)
		}
		table = append(table, []cell{
			{text: safetext.String(logName(x.Workload, x.Path)), paint: yellow}, {text: field.Size(x.SizeBytes)}, {text: field.Size(x.GrewBytes)}, {text: since},
		})
	}
	writeRows(b, table, colour)
	moreRows(b, len(all), rows, "log", "logs")
}

// deletedWorth is the least that a deleted file must hold to be shown: every
// upgrade leaves small ones open.
const deletedWorth = 1 << 20

func deletedTable(b *strings.Builder, all []logs.Deleted, rows int, colour bool) {
	for i, d := range all { // the largest first
		if d.Bytes < deletedWorth {
			all = all[:i]
			break
		}
	}
	if len(all) == 0 {
		return
	}
	b.WriteString("\n")
	table := header("DELETED, STILL OPEN", "BYTES", "HOLDERS")
	for _, d := range first(all, rows) {
		var holders []string
		for _, h := range d.Holders {
			holders = append(holders, fmt.Sprintf("%s[%d]", h.Comm, h.PID))
		}
		table = append(table, []cell{
			{text: safetext.String(d.Path)}, {text: field.Size(d.Bytes)}, {text: safetext.String(strings.Join(first(holders, 3), " "))},
		})
	}
	writeRows(b, table, colour)
	moreRows(b, len(all), rows, "file", "files")
}

// diskGaps lists what was not seen.
func diskGaps(b *strings.Builder, s disk.Scan) {
	for _, err := range s.Errors {
		fmt.Fprintf(b, "\nnot seen: %s\n", safetext.String(err))
	}
	if n := s.Skipped["denied"]; n > 0 {
		fmt.Fprintf(b, "\nnot seen: %s that may not be listed; root, or CAP_DAC_READ_SEARCH, sees them\n", field.Count(n, "directory or file", "directories or files"))
	}
	if s.Unreadable > 0 {
		fmt.Fprintf(b, "\nnot seen: the descriptors of %d of %d processes; root, or CAP_SYS_PTRACE, sees who reads what\n", s.Unreadable, s.Processes)
	}
}

// diskLeftovers lists logs of pods that are gone and archives that are corrupt.
func diskLeftovers(b *strings.Builder, u disk.Usage, colour bool) {
	for _, o := range u.Orphans {
		fmt.Fprintf(b, "\n%s %s holds %s of a pod that this node does not have, unchanged since %s\n",
			paint(colour, yellow, "orphan:"), safetext.String(o.Path), field.Size(o.Bytes), timestamp(o.Modified))
	}
	for _, c := range u.Corrupt {
		fmt.Fprintf(b, "\n%s %s (%s): %s\n", paint(colour, yellow, "corrupt:"), safetext.String(c.Path), field.Size(c.Bytes), c.Error)
	}
}

func diskAlarms(b *strings.Builder, u disk.Usage, colour bool) {
	for _, a := range []disk.Assessment{u.Pressure, u.Reading} {
		if a.Severity == disk.Bad {
			fmt.Fprintf(b, "\n%s %s\n", paint(colour, red, "pressure:"), safetext.String(a.Message))
		}
	}
}

func diskFindings(b *strings.Builder, all []disk.Finding, colour bool) {
	for _, f := range all {
		sgr := ""
		if f.Severity == disk.SeverityWarning {
			sgr = yellow
		}
		fmt.Fprintf(b, "\n%s %s\n    %s\n", paint(colour, sgr, f.Severity+":"), safetext.String(f.Message), safetext.String(f.Do))
	}
}

func moreRows(b *strings.Builder, have, rows int, one, many string) {
	if rows > 0 {
		more(b, have-rows, one, many)
	}
}
