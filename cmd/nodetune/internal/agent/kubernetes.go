package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/kube"
)

// kubernetes settles the conditions, and publishes them where there is an API server.
type kubernetes struct {
	log    *slog.Logger
	client *kube.Client // nil without an API server
	name   string       // of the Node
	node   *kube.Publisher
	events *kube.Events // nil without an API server
	pods   podDemands
	acts   *reporter.Acts

	mu        sync.Mutex
	podEvents activeEvents // Events on pods
}

func newKube(log *slog.Logger, client *kube.Client, name string, p config.ReporterPolicy) *kubernetes {
	k := &kubernetes{log: log, client: client, name: name}
	if client == nil {
		k.node = kube.NewPublisher(nil, name, p.Conditions, kube.Hooks{})
		return k
	}
	client = client.WithoutRetries() // the schedules of this package decide
	k.node = kube.NewPublisher(client.Nodes(), name, p.Conditions, kube.Hooks{
		Wrote: k.logWrite,
		Foreign: func(t corev1.NodeConditionType, managers []string) {
			log.Warn("another manager owns this condition; it is not published", "type", t, "managers", managers)
		},
		Reached: func(err error) {
			if err != nil {
				log.Warn("cannot read this node from the API server; floors are still held", "node", name, "err", err)
			} else {
				log.Info("reading this node from the API server", "node", name)
			}
		},
	})
	k.events = kube.NewEvents(client.Events, name, k.node.UID, p.Events.Disabled, func(namespace string, err error) {
		log.Error("API server rejected Events; conditions and metrics continue", "namespace", namespace, "err", err)
	})
	k.pods = podDemands{client: client, node: name, log: log, events: k.events}
	return k
}

// staleCheckInterval is how often the conditions are evaluated when no pass ends: they
// become Unknown when the state behind them is stale.
const staleCheckInterval = 30 * time.Second

// run publishes until ctx is done. It calls publish every staleCheckInterval, and when
// the demands of pods have changed.
func (k *kubernetes) run(ctx context.Context, current func() *config.Config, publish func()) {
	if k.events != nil {
		go k.node.Run(ctx)
		go k.events.Run(ctx)
	}
	pods := make(chan struct{}, 1)
	tick := time.NewTicker(staleCheckInterval)
	defer tick.Stop()
	for ctx.Err() == nil {
		k.pods.update(ctx, current().Reporter.PodDemands, func() {
			select {
			case pods <- struct{}{}:
			default:
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-pods:
			// A rollout changes many pods within a second.
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		publish()
	}
}

// publish renders s as conditions and as Events.
func (k *kubernetes) publish(s reporter.Snapshot, cfg *config.Config, now time.Time) {
	changes := k.node.Update(condition.Evaluate(s, now, cfg.Reporter.Conditions.StaleAfter.D(), cfg.Inotify), now)
	for _, c := range changes {
		if c.From != "" || c.To.Status != corev1.ConditionFalse { // a start without a problem is no news
			k.acts.Add(conditionAct(c))
		}
		k.log.Info("condition", "type", c.To.Type, "status", c.To.Status, "was", c.From, "reason", c.To.Reason, "message", c.To.Message)
	}
	if k.events == nil {
		return
	}
	for _, e := range k.events.TransitionEvents(changes) {
		k.events.Record(e, now)
	}
	k.mu.Lock()
	fresh := k.podEvents.added(kube.PodEvents(s, k.node.Conditions(), cfg.Inotify))
	k.mu.Unlock()
	for _, e := range fresh {
		k.recordPodEvent(e, cfg.Reporter.PodDemands, now)
	}
	if cfg.Reporter.OpenGate && s.Sysctl.Err == nil && !s.Sysctl.At.IsZero() && len(s.Sysctl.Value.Unsatisfied()) == 0 {
		k.node.RemoveStartupTaint()
	}
}

// reconfigure follows a reload.
func (k *kubernetes) reconfigure(p config.ReporterPolicy) {
	k.node.Reconfigure(p.Conditions)
	if k.events != nil {
		k.events.Disable(p.Events.Disabled)
	}
}

// recordPodEvent writes an Event on a pod where the agent may do that, and on its
// Node otherwise.
func (k *kubernetes) recordPodEvent(e kube.Event, p kube.DemandPolicy, now time.Time) {
	if k.events == nil {
		return
	}
	if !p.Enabled {
		e = k.events.OfPod(e)
	}
	k.events.Record(e, now)
}

// underPressure reports whether a condition about use is True: it ends some passes
// after its cause.
func (k *kubernetes) underPressure() bool {
	for _, c := range k.node.Conditions() {
		if c.Status == corev1.ConditionTrue && (c.Type == condition.InotifyPressure || c.Type == condition.FileDescriptorPressure) {
			return true
		}
	}
	return false
}

func (k *kubernetes) logWrite(w kube.Write) {
	var changes []string
	for _, c := range w.Set {
		changes = append(changes, fmt.Sprintf("%s=%s", c.Type, c.Status))
	}
	for _, t := range w.Removed {
		changes = append(changes, fmt.Sprintf("%s removed", t))
	}
	if w.StartupTaint {
		changes = append(changes, "taint "+kube.StartupTaint+" removed")
	}
	switch {
	case w.Err == nil:
		k.log.Info("updated the Node", "changes", changes)
	case w.Retry:
		k.log.Warn("cannot update the Node; retrying", "changes", changes, "err", w.Err)
	default:
		k.log.Error("API server rejected the update; retrying when the content changes", "changes", changes, "err", w.Err)
	}
}
