package show

import (
	"fmt"
	"io"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter/view"
)

// Disk writes the filesystems, and rows (0: all) of the producers, the readers and
// the logs without a reader.
func Disk(w io.Writer, r *view.Report, rows int) error {
	d := r.Disk
	if d == nil {
		return missing(w, r, "disk")
	}
	t := newTable(w, "FILESYSTEM\tTYPE\tSIZE\tAVAIL\tINODES FREE\tGROWTH\tFULL IN\tEVICTION IN\tSTATE")
	for _, f := range d.Filesystems {
		inodes := "-"
		if f.Inodes > 0 {
			inodes = fmt.Sprintf("%.0f%%", 100*float64(f.InodesFree)/float64(f.Inodes))
		}
		state := f.State
		if f.Error != "" {
			state += ": " + f.Error
		}
		t.row(f.Path, f.Type, field.Size(f.SizeBytes), field.Size(f.AvailBytes), inodes, rate(f.GrowthPerSecond), seconds(f.SecondsToFull), seconds(f.SecondsToEvict), state)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Producers) > 0 {
		fmt.Fprintln(w)
		t = newTable(w, "BYTES\tRATE\tFILES\tKIND\tPRODUCER")
		for _, p := range first(d.Producers, rows) {
			t.row(field.Size(p.Bytes), rate(p.BytesPerSecond), p.Files, p.Kind, nameOr(p.Workload, p.Path))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		more(w, len(d.Producers), rows, "producer", "producers")
	}
	if len(d.Readers) > 0 {
		fmt.Fprintln(w)
		t = newTable(w, "PID\tREADER\tLAG\tSIZE\tSTALLED\tLOG")
		for _, x := range first(d.Readers, rows) {
			stalled := "-"
			if x.StalledSince != nil {
				stalled = "since " + x.StalledSince.UTC().Format("2006-01-02T15:04:05Z")
			}
			t.row(x.PID, x.Comm+" "+x.Who.String(), field.Size(x.LagBytes), field.Size(x.SizeBytes), stalled, nameOr(x.Log, x.Path))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		more(w, len(d.Readers), rows, "reader", "readers")
	}
	if len(d.Unfollowed) > 0 {
		fmt.Fprintln(w)
		t = newTable(w, "LOG WITHOUT READER\tSIZE\tGREW")
		for _, x := range first(d.Unfollowed, rows) {
			t.row(nameOr(x.Workload, x.Path), field.Size(x.SizeBytes), field.Size(x.GrewBytes))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		more(w, len(d.Unfollowed), rows, "log", "logs")
	}
	for _, f := range d.Findings {
		fmt.Fprintf(w, "\n%s: %s %s\n  %s\n", safetext.String(f.Severity), safetext.String(f.Path), safetext.String(f.Message), safetext.String(f.Do))
	}
	return nil
}

func nameOr(x view.Workload, path string) string {
	if name := x.String(); name != "" {
		return name
	}
	return path
}
