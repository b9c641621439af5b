package agent

import (
	"context"
	"sync"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/accounting"
	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/metrics"
	"github.com/nodetune/nodetune/reporter/text"
)

const (
	// failurePollInterval is how often is looked. A look at nothing takes 10 µs.
	failurePollInterval = time.Second
	// failureRetryInterval is when what could not be opened is tried again.
	failureRetryInterval = time.Minute
)

// failureTask reports inotify calls that failed, if the configuration asks for it.
type failureTask struct {
	agent  *Agent
	roots  host.Roots
	counts *metrics.SyscallFailures

	mu        sync.Mutex
	tracer    *accounting.FailureTracer // nil while nothing is traced
	policy    inotify.Policy
	lastError string // it could not be opened, as it was logged
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
	if t.tracer != nil && (!policy.Refusals || policy.KernelCounters != t.policy.KernelCounters) {
		t.tracer.Close()
		t.tracer = nil
	}
	if !policy.Refusals || ctx.Err() != nil {
		return health.ErrIdle
	}
	if t.tracer == nil {
		open, err := accounting.OpenFailureTracer(t.roots, policy, &t.agent.failures)
		if err != nil {
			if t.lastError != err.Error() {
				t.agent.log.Warn("cannot trace failed inotify calls", "err", err)
			}
			t.lastError = err.Error()
			return health.ErrIdle // logged once; the other tasks go on
		}
		t.tracer, t.policy, t.lastError = open, policy, ""
		t.agent.log.Info("tracing failed inotify calls", "source", open.Source)
	}
	now := time.Now()
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
