package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/metrics"
	"github.com/nodetune/nodetune/reporter/text"
)

const (
	// failurePollInterval is how often is looked. A look at nothing takes 10 µs.
	failurePollInterval = time.Second
	// failureRetryInterval is when tracing that the configuration asks for, and that
	// could not be opened, is tried again.
	failureRetryInterval = time.Minute
	// failureAutoRetryInterval is the same where it does not ask for it. What the
	// kernel lacks does not come. To try takes up to 100 ms of CPU.
	failureAutoRetryInterval = time.Hour
)

// failureTask reports inotify calls that failed, where that costs nothing or the
// configuration asks for it.
type failureTask struct {
	agent  *Agent
	roots  host.Roots
	counts *metrics.SyscallFailures

	mu        sync.Mutex
	tracer    *accounting.FailureTracer // nil while nothing is traced
	policy    inotify.Policy
	lastError string // it could not be opened, as it was logged
	retryAt   time.Time
	logged    failureLogLimit
}

func (t *failureTask) interval() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tracer == nil {
		return failureRetryInterval
	}
	return failurePollInterval
}

func (t *failureTask) pass(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	policy := t.agent.config.Load().Inotify
	now := time.Now()
	if policy.Refusals != t.policy.Refusals || policy.KernelCounters != t.policy.KernelCounters {
		if t.tracer != nil {
			t.tracer.Close()
			t.tracer = nil
		}
		t.retryAt = time.Time{}
	}
	t.policy = policy
	if ctx.Err() != nil {
		return health.ErrIdle
	}
	if t.tracer == nil && !t.open(now) {
		return health.ErrIdle // the reason is logged once; the other tasks go on
	}
	all, fresh, err := t.tracer.Read(now)
	for _, f := range all {
		t.counts.Count(f)
		t.agent.notifySyscallFailure(f, now)
	}
	for _, f := range fresh {
		if f.Resource != "" {
			if more, ok := t.logged.allow(f, now); ok {
				t.agent.log.Warn("inotify call failed", "failure", text.SyscallFailureText(f), "not_logged_before", more)
			}
		}
	}
	if len(all) > 0 {
		t.agent.latest.Update(func(s *reporter.Snapshot) {
			s.Inotify.Value.Refusals = t.agent.failures.Recent(now)
		})
	}
	return err
}

// open begins to trace, unless that failed a short time ago.
func (t *failureTask) open(now time.Time) bool {
	if now.Before(t.retryAt) {
		return false
	}
	open, err := accounting.OpenFailureTracer(t.roots, t.policy, &t.agent.failures)
	if err == nil {
		t.tracer, t.lastError = open, ""
		t.publishSource(open.Source)
		t.agent.log.Info("tracing failed inotify calls", "source", open.Source.RefusalsSource, "reason", open.Source.RefusalsReason)
		return true
	}
	asked := t.policy.Refusals == inotify.RefusalsOn
	t.retryAt = now.Add(failureAutoRetryInterval)
	if asked || errors.Is(err, bpf.ErrTemporary) {
		t.retryAt = now
	}
	t.publishSource(inotify.RefusalSource{RefusalsSource: inotify.RefusalSourceOff, RefusalsReason: err.Error()})
	if t.lastError != err.Error() && t.policy.Refusals != inotify.RefusalsOff {
		level := slog.LevelInfo
		if asked {
			level = slog.LevelWarn
		}
		t.agent.log.Log(context.Background(), level, "cannot trace failed inotify calls", "err", err)
	}
	t.lastError = err.Error()
	return false
}

// publishSource puts how failed calls are traced into the report of the last pass,
// and of those to come.
func (t *failureTask) publishSource(source inotify.RefusalSource) {
	t.agent.refusals.Store(&source)
	t.agent.latest.Update(func(s *reporter.Snapshot) { s.Inotify.Value.RefusalSource = source })
}

// stop stops the tracing: an instance of tracefs would go on without the agent. It
// leaves that to the next start where a pass hangs, in a list of names on a dead
// file system for example: the end of the agent does not wait for it.
func (t *failureTask) stop() {
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	if t.tracer != nil {
		t.tracer.Close()
		t.tracer = nil
	}
}

// notifySyscallFailure writes an Event on the pod or Node whose call failed, if there
// is an API server. The right to write Events on pods comes with podDemands.
func (a *Agent) notifySyscallFailure(f inotify.SyscallFailure, now time.Time) {
	events := a.kube.events
	if events == nil {
		return
	}
	if e, ok := events.SyscallFailureEvent(f, a.config.Load().Reporter.PodDemands.Enabled); ok {
		events.Record(e, now)
	}
}
