package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/kube"
	"github.com/nodetune/nodetune/sysctl"
)

// podDemands requests the floors that pods ask for. The watch runs while the
// configuration enables it.
type podDemands struct {
	client *kube.Client // nil without an API server
	node   string
	log    *slog.Logger
	events *kube.Events

	mu        sync.Mutex
	watch     *kube.Pods
	stop      context.CancelFunc
	rejected  activeEvents
	lastStats kube.DemandStats
}

// update starts or stops the watch as p says.
func (d *podDemands) update(ctx context.Context, p kube.DemandPolicy, changed func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.client == nil || p.Enabled == (d.watch != nil):
	case p.Enabled:
		ctx, d.stop = context.WithCancel(ctx)
		d.watch = kube.NewPods(d.client, d.node, changed, func(err error) {
			if err != nil {
				d.log.Warn("cannot read the pods of this node from the API server; their floors stay in force", "err", err)
			} else {
				d.log.Info("reading the pods of this node from the API server")
			}
		})
		go d.watch.Run(ctx)
	default:
		d.stop()
		d.watch, d.rejected, d.lastStats = nil, nil, kube.DemandStats{}
	}
}

// floorRequests returns what the pods ask for, and makes Events on those that do
// not get it.
func (d *podDemands) floorRequests(s reporter.Snapshot, p kube.DemandPolicy, now time.Time) []sysctl.Need {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch == nil {
		return nil
	}
	ceilings := make(kube.Ceilings)
	for _, r := range s.Sysctl.Value.Rules {
		if r.Op == sysctl.AtLeast && r.Ceiling.Known() {
			ceilings[r.Key] = r.Ceiling
		}
	}
	if s.Sysctl.At.IsZero() {
		return nil // no rule is known yet
	}
	demands := d.watch.Demands()
	floors, refused := kube.ResolveDemands(demands, s.Inotify.Value, p, ceilings)
	d.lastStats = kube.CountDemands(demands, floors, refused)
	events := d.watch.RejectedPods()
	for _, r := range refused {
		events = append(events, kube.RejectedDemandEvent(r))
	}
	for _, e := range d.rejected.added(events) {
		d.log.Warn("rejected the floor that a pod requests", "namespace", e.Object.Namespace, "pod", e.Object.Name, "reason", e.Reason, "message", e.Message)
		d.events.Record(e, now)
	}
	var needs []sysctl.Need
	for _, f := range floors {
		needs = append(needs, sysctl.Need{Key: f.Key, AtLeast: f.Want, Why: "pods of this node ask for it"})
	}
	return needs
}

// activeEvents are the Events that are true now, by identity. Each is written when
// it becomes true.
type activeEvents map[kube.Event]bool

// added takes what is true now and returns what was not true before.
func (n *activeEvents) added(now []kube.Event) []kube.Event {
	var fresh []kube.Event
	all := make(activeEvents, len(now))
	for _, e := range now {
		id := e.Identity()
		if !(*n)[id] && !all[id] {
			fresh = append(fresh, e)
		}
		all[id] = true
	}
	*n = all
	return fresh
}

// stats returns the counts of the last floorRequests.
func (d *podDemands) stats() kube.DemandStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lastStats
}
