package condition

import (
	"fmt"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
)

// logCollectorStalled rates the processes that read logs: by how far they have
// read and, if that is far enough, by the inotify events that wait for them.
func logCollectorStalled(u disk.Usage, r reporter.Result[inotify.Usage], now time.Time, staleAfter time.Duration, t inotify.Policy) Evaluation {
	v := fromAssessment(u.Reading)
	switch {
	case v.Severity == Bad && !u.Scan.ReadersOld:
	case u.Scan.ReadersOld:
		v = Evaluation{Severity: Unknown, Reason: ReadersUnknown, Message: fmt.Sprintf(
			"who reads which log is not known now: %s left of a walk of /proc that takes more than one pass", field.Count(u.Scan.Later, "process is", "processes are"))}
	case u.Scan.Unreadable > 0:
		v = Evaluation{Severity: Unknown, Reason: ReadersUnknown, Message: fmt.Sprintf(
			"no stalled collector was seen, but the descriptors of %d of %d processes could not be read: that needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", u.Scan.Unreadable, u.Scan.Processes)}
	}
	if v.Severity == Bad || r.Err != nil || r.At.IsZero() || now.Sub(r.At) > staleAfter {
		return v
	}
	type process struct {
		pid   int
		start uint64
	}
	reads := make(map[process]bool, len(u.Readers))
	for _, r := range u.Readers {
		reads[process{r.PID, r.Start}] = true
	}
	var worst *inotify.Process
	for i := range r.Value.Processes {
		p := &r.Value.Processes[i]
		unread := time.Duration(p.EventsUnreadSeconds) * time.Second
		if unread >= t.EventsUnreadAfter.D() && reads[process{p.PID, p.Start}] && (worst == nil || p.QueuedEvents > worst.QueuedEvents) {
			worst = p
		}
	}
	if worst == nil {
		return v
	}
	return Evaluation{Severity: Bad, Reason: EventsUnread, Message: fmt.Sprintf("%s has read no inotify event for %s: %d of %d wait",
		processName(worst), time.Duration(worst.EventsUnreadSeconds)*time.Second, worst.QueuedEvents, worst.QueuedEventsLimit)}
}

// processName names the workload of a process: its pod and container or its unit,
// which the kubelet and systemd chose. The name of the program is not used, because
// a container may call its programs as it likes, also like those of others.
func processName(p *inotify.Process) string {
	if name := workload.Name(p.Namespace, p.Pod, p.Container, p.Unit); name != "" {
		return name
	}
	return fmt.Sprintf("process %d of uid %d", p.PID, p.UID)
}
