package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
)

func fullDisk(in Input, t *Trouble, reason string) {
	t.Kind, t.State = KindDisk, Critical
	u := in.Snapshot.Disk.Value
	if p, ok := fastest(u); ok {
		t.Cause = fmt.Sprintf("%s writes %s/s and holds %s", logName(p.Workload, p.Path), field.Size(uint64(rate(p))), field.Size(p.Bytes))
	} else if len(u.Producers) > 0 { // the largest first
		p := u.Producers[0]
		t.Cause = fmt.Sprintf("%s holds the most: %s", logName(p.Workload, p.Path), field.Size(p.Bytes))
	}
	for _, f := range u.Filesystems {
		if strings.HasPrefix(u.Pressure.Message, f.Path+" has ") {
			t.Summary = filesystemSummary(f)
		}
	}
	t.Next, t.Then = in.nodetune("disk reclaim --until 80% --dry-run"), "lists what can be removed, the least valuable first; without --dry-run it removes that"
	if reason == disk.ReasonUnusable {
		t.Next, t.Then = "sudo dmesg --level=err,warn | tail -50", "shows what the kernel reports about the device"
		t.Cause = ""
	}
	none := "nothing yet: no log can be removed without loss, or it was not looked at yet"
	if in.DiskMode == disk.Observe {
		none = "nothing: disk.mode is observe, in which nodetune changes no log file"
	}
	t.did(in, "", none, reporter.ActReclaim, "remove", "rotate", "compress", "punch")
}

// filesystemSummary is how much is left of f, and what happens when.
func filesystemSummary(f filesystem.Filesystem) string {
	s := fmt.Sprintf("%s has %.1f %% available, %s of %s", f.Path, f.AvailPercent(), field.Size(f.AvailBytes), field.Size(f.SizeBytes))
	if free := f.InodesFreePercent(); free < f.AvailPercent() {
		s += fmt.Sprintf(", and %.1f %% of its inodes", free)
	}
	var soon []string
	if f.SecondsToEviction != nil {
		soon = append(soon, "the kubelet evicts pods in "+secondsText(f.SecondsToEviction))
	} else if f.EvictionAvailBytes != nil {
		soon = append(soon, "the kubelet evicts pods below "+field.Size(*f.EvictionAvailBytes))
	}
	if f.SecondsToFull != nil {
		soon = append(soon, "it is full in "+secondsText(f.SecondsToFull))
	}
	if len(soon) > 0 {
		s += ": " + strings.Join(soon, ", ")
	}
	return s
}

// fastest is the producer that writes most per second.
func fastest(u disk.Usage) (most producer, ok bool) {
	for _, p := range u.Producers {
		if rate(p) > rate(most) {
			most, ok = p, true
		}
	}
	return most, ok
}

func stalledCollector(in Input, t *Trouble, reason string) {
	t.Kind, t.State = KindCollectorStalled, Critical
	none := "nothing: nodetune restarts no collector"
	u := in.Snapshot.Disk.Value
	switch reason {
	case disk.ReasonStalled:
		for _, r := range u.Readers { // the one with the most unread first
			if r.StalledSince != nil {
				t.Cause = fmt.Sprintf("%s, with %s unread", readerName(r.Comm, r.PID, r.Who), field.Size(r.LagBytes))
				t.Next, t.Then = in.restart(r.Who, r.PID)
				break
			}
		}
	case condition.EventsUnread:
		t.Next, t.Then = in.nodetune("top --once"), "column EVENTS: restart the collector whose queue is full"
	default:
		t.Next, t.Then = in.nodetune("disk"), "lists the logs without a reader: restart the collector that should read them"
	}
	t.did(in, "", none)
}

func stalledSince(in Input) *time.Time {
	var first *time.Time
	for _, r := range in.Snapshot.Disk.Value.Readers {
		if r.StalledSince != nil && (first == nil || r.StalledSince.Before(*first)) {
			first = r.StalledSince
		}
	}
	return first
}

func readerName(comm string, pid int, w workload.Workload) string {
	return processName(&inotify.Process{Comm: comm, PID: pid, Namespace: w.Namespace, Pod: w.Pod, Container: w.Container, Unit: w.Unit})
}
