package disk

import (
	"context"
	"fmt"
	"time"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/procwalk"
)

const (
	// readWatchesWithin bounds how long a pass reads records of watches, where its walk is
	// bounded.
	readWatchesWithin = 5 * time.Second
	// oldAfter is when what the last complete walk saw of readers says nothing of now any
	// more. The agent's conditions are Unknown after the same time without a pass.
	oldAfter = 5 * time.Minute
)

// part is an unfinished walk of /proc.
type part struct {
	seen   *logs.ProcSnapshot
	source ReadersSource
	stats  procwalk.Stats
	at     time.Time // of the last pass that went on with it
}

// walkNow reports whether the pass is to look at processes.
func (o *Observer) walkNow(now time.Time) bool {
	if o.part != nil {
		return now.Sub(o.part.at) >= o.ResumeAfter || now.Before(o.part.at)
	}
	return o.lastWalk.IsZero() || now.Sub(o.lastWalk) >= o.WalkEvery || now.Before(o.lastWalk)
}

// walkProcesses looks at every process, or goes on where the last pass had no time left.
// It returns nil while the walk is unfinished.
func (o *Observer) walkProcesses(ctx context.Context, now time.Time, mounts []filesystem.Mount) (*logs.ProcSnapshot, error) {
	p := o.part
	o.part = nil
	if p == nil {
		p = &part{seen: o.follow.NewSnapshot(o.pods), source: ReadersSource{ReadersFrom: ReadersFromKernel}}
		p.seen.Procfs = o.procfs
		processes, err := o.openFilesFromKernel(p.seen, mounts)
		if err == nil {
			p.stats.Processes = processes
			o.complete(p)
			return p.seen, nil
		}
		p.source = ReadersSource{ReadersFromProcfs, err.Error()}
	}
	if err := o.walkPart(ctx, p); err != nil {
		return nil, fmt.Errorf("walk %s: %w", o.procfs, err)
	}
	if p.stats.Next > 0 {
		p.at, o.part = now, p
		o.walked.source, o.walked.later = p.source, p.stats.Omitted
		o.walked.kubelet, o.walked.docker = orBefore(p.seen.Kubelet.Pid, o.walked.kubelet), orBefore(p.seen.Docker.Pid, o.walked.docker)
		return nil, nil
	}
	reading, done := ctx, context.CancelFunc(func() {})
	if o.WalkWithin > 0 {
		reading, done = context.WithTimeout(ctx, readWatchesWithin)
	}
	p.seen.ReadWatches(reading, o.reader, now)
	done()
	o.complete(p)
	return p.seen, nil
}

// walkPart walks for as long as a pass may.
func (o *Observer) walkPart(ctx context.Context, p *part) error {
	v := p.seen.Visitor()
	v.From = p.stats.Next
	if began := time.Now(); o.WalkWithin > 0 {
		v.Expired = func() bool { return time.Since(began) >= o.WalkWithin }
	}
	stats, err := o.walker.Walk(ctx, v)
	p.stats.Add(stats)
	return err
}

// complete replaces what the walk before has shown.
func (o *Observer) complete(p *part) {
	seen := p.seen
	o.follow.Kubelet = seen.Kubelet
	o.walked = walked{source: p.source, processes: p.stats.Processes, unread: seen.Unread, omitted: seen.Omitted, kubelet: seen.Kubelet.Pid, docker: seen.Docker.Pid}
	for _, r := range p.stats.Unreadable {
		o.walked.unreadable += r.Processes
	}
	if p.stats.Cut > 0 {
		o.walked.omitted[omittedCut] = p.stats.Cut
	}
}

// omittedCut are processes that a walk has shown in part.
const omittedCut = "processes with more descriptors than a pass has time for"

// orBefore returns the pid that a walk has found so far, or that of the walk before.
func orBefore(pid, before int) int {
	if pid != 0 {
		return pid
	}
	return before
}
