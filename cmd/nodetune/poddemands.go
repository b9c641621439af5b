package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// podDemands asks for the floors that pods ask for. The watch runs while the
// configuration wants it.
type podDemands struct {
	client *reporter.Client // nil without an API server
	node   string
	log    *slog.Logger
	events *reporter.Events

	mu    sync.Mutex
	watch *reporter.Pods
	stop  context.CancelFunc
	told  news
	seen  reporter.DemandStats
}

// follow starts or stops the watch as p says.
func (d *podDemands) follow(ctx context.Context, p reporter.DemandPolicy, changed func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.client == nil || p.Enabled == (d.watch != nil):
	case p.Enabled:
		ctx, d.stop = context.WithCancel(ctx)
		d.watch = reporter.NewPods(d.client, d.node, changed, func(err error) {
			if err != nil {
				d.log.Warn("cannot read the pods of this node from the API server; their floors stay in force", "err", err)
			} else {
				d.log.Info("reading the pods of this node from the API server")
			}
		})
		go d.watch.Run(ctx)
	default:
		d.stop()
		d.watch, d.told, d.seen = nil, nil, reporter.DemandStats{}
	}
}

// needs returns what the pods ask for, and tells those that do not get it.
func (d *podDemands) needs(s reporter.Snapshot, p reporter.DemandPolicy, now time.Time) []sysctl.Need {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch == nil {
		return nil
	}
	ceilings := make(reporter.Ceilings)
	for _, r := range s.Sysctl.Value.Rules {
		if r.Op == sysctl.AtLeast && r.Ceiling.Known() {
			ceilings[r.Key] = r.Ceiling
		}
	}
	if s.Sysctl.At.IsZero() {
		return nil // no rule is known yet
	}
	demands := d.watch.Demands()
	floors, refused := reporter.Merge(demands, s.Inotify.Value, p, ceilings)
	d.seen = reporter.CountDemands(demands, floors, refused)
	events := d.watch.Misled()
	for _, r := range refused {
		events = append(events, reporter.RefusalEvent(r))
	}
	for _, e := range d.told.fresh(events) {
		d.log.Warn("rejected the floor that a pod requests", "namespace", e.Object.Namespace, "pod", e.Object.Name, "reason", e.Reason, "message", e.Message)
		d.events.Say(e, now)
	}
	var needs []sysctl.Need
	for _, f := range floors {
		needs = append(needs, sysctl.Need{Key: f.Key, AtLeast: f.Want, Why: "pods of this node ask for it"})
	}
	return needs
}

// news are the Events that are true now. Each is told when it becomes so.
type news map[reporter.Event]bool

// fresh takes what is true now and returns what was not a moment ago.
func (n *news) fresh(now []reporter.Event) []reporter.Event {
	var fresh []reporter.Event
	all := make(news, len(now))
	for _, e := range now {
		if !(*n)[e] && !all[e] {
			fresh = append(fresh, e)
		}
		all[e] = true
	}
	*n = all
	return fresh
}

// stats returns what the last look came to.
func (d *podDemands) stats() reporter.DemandStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}
