package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/inotify/tracefs"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
)

// refusals reads which calls of inotify have failed, and names whose they were.
type refusals struct {
	from interface {
		Read() ([]inotify.Refusal, error)
		Close() error
	}
	source string
	names  *workload.Index
	lately *inotify.Refused
	// unnamed are of containers that have no name yet.
	unnamed []inotify.Refusal
}

// openRefusals begins to trace: by BPF, which knows of each call what it met, or
// else by the kernel's own tracing. It adds to lately what has failed.
func openRefusals(roots Roots, p inotify.Policy, lately *inotify.Refused) (*refusals, error) {
	r := &refusals{source: "ebpf", names: workload.NewIndex(roots.Rootfs), lately: lately}
	if err := isProcfs(roots.Procfs); err != nil {
		return nil, err
	}
	withoutBPF := ownKernel(roots.Procfs, p)
	if withoutBPF == nil {
		b, err := bpf.OpenFailureCounter(roots.Procfs)
		if err == nil {
			r.from = b
			return r, nil
		}
		withoutBPF = err
	}
	t, err := tracefs.Open(filepath.Join(roots.Sysfs, "kernel/tracing"), roots.Procfs)
	if err != nil {
		return nil, fmt.Errorf("%w; without BPF, because %w", err, withoutBPF)
	}
	r.from, r.source = t, fmt.Sprintf("tracefs, because %v", withoutBPF)
	return r, nil
}

// read returns what was refused since the last time, and what of it is new. A
// collector that fails at once may do so before the kubelet has made the link in
// /var/log/containers that names its container: it is told the next time.
func (r *refusals) read(now time.Time) (all, fresh []inotify.Refusal, err error) {
	late := len(r.unnamed)
	more, err := r.from.Read()
	more = append(r.unnamed, more...)
	r.unnamed = nil
	if len(more) > 0 {
		_ = r.names.Refresh() // without it there is no name
	}
	for i, f := range more {
		f.Name(r.names)
		if w := workload.FromCgroupPath(f.Cgroup); i >= late && f.Container == "" && w.PodUID != "" && w.ContainerID != "" {
			r.unnamed = append(r.unnamed, f)
			continue
		}
		all = append(all, f)
	}
	return all, r.lately.Add(all, now), err
}

func (r *refusals) close() { _ = r.from.Close() }

const (
	// refusedEvery is how often is looked. A look at nothing takes 10 µs.
	refusedEvery = time.Second
	// refusedAgain is when what could not be opened is tried again.
	refusedAgain = time.Minute
)

// refusalTask tells what inotify has refused, if the configuration asks for it.
type refusalTask struct {
	agent  *agent
	roots  Roots
	counts *reporter.Refusals

	mu     sync.Mutex
	open   *refusals // nil while nothing is traced
	policy inotify.Policy
	why    string // it could not be opened, as it was logged
}

func (t *refusalTask) every() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		return refusedAgain
	}
	return refusedEvery
}

func (t *refusalTask) pass(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	policy := t.agent.config.Load().Inotify
	if t.open != nil && (!policy.Refusals || policy.KernelCounters != t.policy.KernelCounters) {
		t.open.close()
		t.open = nil
	}
	if !policy.Refusals || ctx.Err() != nil {
		return nil
	}
	if t.open == nil {
		open, err := openRefusals(t.roots, policy, &t.agent.refused)
		if err != nil {
			if t.why != err.Error() {
				t.agent.log.Warn("cannot trace failed inotify calls", "err", err)
			}
			t.why = err.Error()
			return nil // said once, and what else it does goes on
		}
		t.open, t.policy, t.why = open, policy, ""
		t.agent.log.Info("tracing failed inotify calls", "source", open.source)
	}
	now := time.Now()
	all, fresh, err := t.open.read(now)
	for _, f := range all {
		t.counts.Count(f)
		t.agent.tellRefused(f, now)
	}
	for _, f := range fresh {
		if f.Resource != "" {
			t.agent.log.Warn("inotify call failed", "failure", reporter.RefusedText(f))
		}
	}
	if len(all) > 0 {
		t.agent.latest.Put(func(s *reporter.Snapshot) {
			s.Inotify.Value.Refusals = t.agent.refused.Lately(now)
		})
	}
	return err
}

// end stops the tracing: an instance of tracefs would go on without the agent.
func (t *refusalTask) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open != nil {
		t.open.close()
		t.open = nil
	}
}

// tellRefused tells whose it was, if there is an API server. Events on pods are
// granted with what pods may ask for.
func (a *agent) tellRefused(f inotify.Refusal, now time.Time) {
	events := a.kube.events
	if events == nil {
		return
	}
	if e, ok := events.RefusedEvent(f, a.config.Load().Reporter.PodDemands.Enabled); ok {
		events.Say(e, now)
	}
}
