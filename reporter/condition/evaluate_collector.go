package condition

import (
	"fmt"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
)

// logCollectorStalled judges whoever reads the logs: by how far they have read and, where
// that is well, by the events that wait for them.
func logCollectorStalled(u disk.Usage, r reporter.Result[inotify.Usage], now time.Time, staleAfter time.Duration, t inotify.Policy) Evaluation {
	v := fromAssessment(u.Reading)
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

// processName names a process as an operator knows it.
func processName(p *inotify.Process) string {
	if who := workload.Name(p.Namespace, p.Pod, p.Container, p.Unit); who != "" {
		return fmt.Sprintf("%s of %s", safetext.String(p.Comm), who)
	}
	return fmt.Sprintf("%s[%d]", safetext.String(p.Comm), p.PID)
}
