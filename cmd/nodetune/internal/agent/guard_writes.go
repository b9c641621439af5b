package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/guard"
)

const (
	// maxUnnamedWrites bounds the writes of pods that have no name yet.
	maxUnnamedWrites = 64
	// unnamedFor is how long the name of a pod may take: the kubelet makes the
	// directory of its logs before the container starts, and the link that names
	// the container some time after that.
	unnamedFor = 3 * time.Second
)

// raiseAgain is when passes look again at a key that was raised at once. The
// guard sees the write before it takes effect, and the kernel may stop the writer
// in between.
var raiseAgain = []time.Duration{2 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second}

// read reports each write until g is closed.
func (t *guardTask) read(ctx context.Context, g *guard.Guard) {
	for {
		w, err := g.Read(ctx)
		switch {
		case err == nil:
			t.seen(ctx, w)
			continue
		case ctx.Err() != nil || errors.Is(err, os.ErrClosed):
			return
		}
		t.mu.Lock()
		if t.guard == g {
			t.fail(fmt.Errorf("read the writes that the sysctl guard saw: %w", err), time.Now())
		}
		t.mu.Unlock()
		return
	}
}

// seen has the setting raised again, and then reports the write.
func (t *guardTask) seen(ctx context.Context, w guard.Write) {
	now := time.Now()
	below := belowFloor(t.agent.latest.Snapshot().Sysctl.Value.Rules, w.Key, w.New)
	t.mu.Lock()
	raise := below && !w.Held && t.immediate.Allow(canonicalKey(w.Key), now)
	t.mu.Unlock()
	if raise {
		t.agent.raiseNow(ctx) // in this goroutine: each one that it waits for may wait for a processor
		for _, after := range raiseAgain {
			time.AfterFunc(after, t.agent.sysctlTask.requestPass)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.names.Refresh() // without it there is no name
	of := w.Workload()
	named := t.names.Named(of)
	if of.PodUID != "" && (named.Pod == "" || of.ContainerID != "" && named.Container == "") && len(t.unnamed) < maxUnnamedWrites {
		t.unnamed = append(t.unnamed, w)
		return
	}
	t.report(w, named, below, now)
}

// nameLate reports the writes whose pod or container has its name now, or gets none.
func (t *guardTask) nameLate(now time.Time) {
	if len(t.unnamed) == 0 {
		return
	}
	_ = t.names.Refresh()
	var still []guard.Write
	for _, w := range t.unnamed {
		of := t.names.Named(w.Workload())
		if now.Sub(w.Time) < unnamedFor && (of.Pod == "" || of.ContainerID != "" && of.Container == "") {
			still = append(still, w)
			continue
		}
		t.report(w, of, belowFloor(t.agent.latest.Snapshot().Sysctl.Value.Rules, w.Key, w.New), now)
	}
	t.unnamed = still
}

// report adds w to the document, the log and the Events.
func (t *guardTask) report(w guard.Write, of workload.Workload, below bool, now time.Time) {
	o := observed(w, of, below)
	t.changed = true
	if o.Held {
		t.agent.acts.Add(holdAct(o))
	}
	if t.writes.Add(o) {
		message, level := "another program wrote a sysctl", slog.LevelInfo
		if below {
			message, level = "another program wrote a sysctl below its floor", slog.LevelWarn
		}
		t.agent.log.Log(context.Background(), level, message, "key", o.Key, "from", o.From.String(), "to", o.To.String(), "held", o.Held,
			"process", o.Process, "uid", o.UID, "namespace", o.Namespace, "pod", o.Pod, "container", o.Container, "unit", o.Unit)
	}
	if e := t.agent.kube.events; e != nil {
		ev, ok := e.SysctlWriteEvent(o)
		switch {
		case !ok:
		case ev.Object.Kind == "Pod":
			t.agent.kube.recordPodEvent(ev, t.agent.config.Load().Reporter.PodDemands, now)
		default:
			e.Record(ev, now)
		}
	}
}

// observed is w as it is published.
func observed(w guard.Write, of workload.Workload, below bool) sysctl.ObservedWrite {
	return sysctl.ObservedWrite{
		Key: w.Key, First: w.Time, Last: w.Time, Count: 1 + w.Suppressed,
		From: w.Old, To: w.New, Effective: w.Effective, BelowFloor: below, Held: w.Held,
		Process: w.Process(), PID: w.PID, UID: w.UID,
		Namespace: of.Namespace, Pod: of.Pod, PodUID: of.PodUID, Container: of.Container, Unit: of.Unit,
	}
}

// belowFloor reports whether v, written to k, does not satisfy a rule.
func belowFloor(rules []sysctl.Status, k sysctl.Key, v sysctl.Value) bool {
	return v.Known() && slices.ContainsFunc(rules, func(s sysctl.Status) bool {
		return s.Op != sysctl.Report && sysctl.SameVariable(s.Key, k) && !s.SatisfiedBy(v)
	})
}

// canonicalKey is one name for both names of a variable.
func canonicalKey(k sysctl.Key) sysctl.Key {
	for _, one := range []sysctl.Key{sysctl.MaxUserInstances, sysctl.MaxUserWatches} {
		if sysctl.SameVariable(one, k) {
			return one
		}
	}
	return k
}
