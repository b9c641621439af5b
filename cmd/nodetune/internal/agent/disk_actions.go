package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/metrics"
)

// disallowedInterval is how often a task that must not act asks whether it may.
const disallowedInterval = time.Minute

// maxUsageAge is how old an observation may be to act upon.
const maxUsageAge = time.Minute

// diskActions rotates and reclaims log files, in the modes assist and exclusive.
type diskActions struct {
	agent  *Agent
	roots  host.Roots
	act    bool
	paused func() string
	counts *metrics.DiskActions

	mu         sync.Mutex
	lastErrors map[string]string // the last error about a path, so that it is logged once
}

// allowed returns the policy, and whether it lets files be touched now.
func (h *diskActions) allowed() (disk.Policy, bool) {
	p := h.agent.config.Load().Disk
	return p, h.act && p.Mode != disk.Observe && h.paused() == ""
}

// usage returns the last observation of the host, if it is fresh: nothing is done
// without one.
func (h *diskActions) usage(now time.Time) (disk.Usage, bool) {
	r := h.agent.latest.Snapshot().Disk
	return r.Value, r.Err == nil && !r.At.IsZero() && now.Sub(r.At) < maxUsageAge
}

// record logs and counts what was done, and makes an Event of a loss.
func (h *diskActions) record(acts ...logdir.Action) {
	for _, a := range acts {
		h.counts.Count(a)
		h.agent.acts.Add(reporter.LogAct(a, time.Now()))
		if a.Err != nil {
			h.recordError(a)
			continue
		}
		h.agent.log.Info("changed a log file", "act", a.Verb, "path", a.Path, "archive", a.Archive, "bytes", a.Bytes, "reason", a.Reason, "asked", a.Asked, "unread_bytes", a.Unread)
		if a.Unread > 0 && h.agent.kube.events != nil {
			e := h.agent.kube.events.OnNode(corev1.EventTypeWarning, "UnreadLogsRemoved", "removed an archive that its reader had not read to the end")
			e.Detail, e.FromWorkload = safetext.String(a.Path), true
			h.agent.kube.events.Record(e, time.Now())
		}
	}
}

// maxLastErrors bounds what is remembered about paths that others may choose.
const maxLastErrors = 1000

// isNewError reports whether text differs from the last error about a path.
func (h *diskActions) isNewError(path, text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lastErrors == nil || len(h.lastErrors) > maxLastErrors {
		h.lastErrors = map[string]string{}
	}
	was := h.lastErrors[path]
	h.lastErrors[path] = text
	return was != text
}

func (h *diskActions) recordError(a logdir.Action) {
	if !h.isNewError(a.Path, a.Error) {
		return
	}
	level := slog.LevelError
	if a.Verb == logdir.ActionSkip {
		level = slog.LevelWarn
	}
	h.agent.log.Log(context.Background(), level, "log file stays unchanged", "act", a.Verb, "path", a.Path, "err", a.Error)
}
