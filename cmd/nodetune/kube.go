package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nodetune/nodetune/reporter"
)

// kubeFlags say whether and as whom to speak to an API server.
type kubeFlags struct {
	nodeName   string
	kubeconfig string
}

func (f *kubeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.nodeName, "node-name", "", "`name` of this machine's Node, to publish conditions and Events for (default $NODE_NAME; empty: without Kubernetes)")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "`file` that says where the API server is (default: the pod's service account)")
}

// client returns a client for the API server, or nil where none is wanted.
func (f *kubeFlags) client() (*reporter.Client, error) {
	asked := f.nodeName != "" || f.kubeconfig != ""
	if f.nodeName == "" {
		f.nodeName = os.Getenv("NODE_NAME")
	}
	if f.nodeName == "" {
		if f.kubeconfig != "" {
			return nil, errors.New("--kubeconfig: whose conditions to publish? give --node-name or set NODE_NAME")
		}
		return nil, nil
	}
	c, err := f.config()
	if errors.Is(err, rest.ErrNotInCluster) && !asked {
		return nil, nil // a pod without a service account's token has no such wish
	}
	if err != nil {
		return nil, fmt.Errorf("speak for node %s: %w", f.nodeName, err)
	}
	return reporter.NewClient(c)
}

func (f *kubeFlags) config() (*rest.Config, error) {
	var c *rest.Config
	var err error
	if f.kubeconfig != "" {
		c, err = clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	} else {
		c, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, err
	}
	c.UserAgent = "nodetune/" + buildVersion().Version
	// One node has little to say: whatever goes wrong here, 5,000 of them must
	// not be felt by the API server.
	c.QPS, c.Burst = 2, 5
	c.DisableCompression = true // a gzip window for each watch costs more than a Node's few kilobytes
	c.WarningHandler = rest.NoWarnings{}
	return c, nil
}

// kube settles the conditions, and tells the API server if there is one.
type kube struct {
	log    *slog.Logger
	node   *reporter.Node
	events *reporter.Events // nil without an API server
	pods   podDemands

	mu   sync.Mutex
	told news // Events on pods
}

func newKube(log *slog.Logger, client *reporter.Client, name string, p reporter.Policy) *kube {
	k := &kube{log: log}
	if client == nil {
		k.node = reporter.NewNode(nil, name, p.Conditions, reporter.NodeHooks{})
		return k
	}
	k.node = reporter.NewNode(client.Nodes(), name, p.Conditions, reporter.NodeHooks{
		Wrote: k.wrote,
		Foreign: func(t corev1.NodeConditionType, managers []string) {
			log.Warn("this condition belongs to somebody else and is not published", "type", t, "managers", managers)
		},
		Reached: func(err error) {
			if err != nil {
				log.Warn("the API server does not show this node; the floors are held without it", "node", name, "err", err)
			} else {
				log.Info("the API server shows this node", "node", name)
			}
		},
	})
	k.events = reporter.NewEvents(client.Events, name, k.node.UID, p.Events.Disabled, func(namespace string, err error) {
		log.Error("the API server takes no Events here; conditions and metrics go on without", "namespace", namespace, "err", err)
	})
	k.pods = podDemands{client: client, node: name, log: log, events: k.events}
	return k
}

// staleEvery is how often the conditions are settled when no pass ends: they
// become Unknown, because nobody knows.
const staleEvery = 30 * time.Second

// run speaks until ctx is done. say is called when no pass has for a while, or
// when pods ask for something else.
func (k *kube) run(ctx context.Context, config func() *Config, say func()) {
	if k.events != nil {
		go k.node.Run(ctx)
		go k.events.Run(ctx)
	}
	pods := make(chan struct{}, 1)
	tick := time.NewTicker(staleEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		k.pods.follow(ctx, config().Reporter.PodDemands, func() {
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
		say()
	}
}

// say renders s as conditions and as Events.
func (k *kube) say(s reporter.Snapshot, cfg *Config, now time.Time) {
	changes := k.node.Say(reporter.Conditions(s, now, cfg.Reporter.Conditions.StaleAfter.D(), cfg.Inotify), now)
	for _, c := range changes {
		k.log.Info("condition", "type", c.To.Type, "status", c.To.Status, "was", c.From, "reason", c.To.Reason, "message", c.To.Message)
	}
	if k.events == nil {
		return
	}
	for _, e := range k.events.TransitionEvents(changes) {
		k.events.Say(e, now)
	}
	k.mu.Lock()
	fresh := k.told.fresh(reporter.PodEvents(s, k.node.Conditions(), cfg.Inotify))
	k.mu.Unlock()
	for _, e := range fresh {
		k.sayOfPod(e, cfg.Reporter.PodDemands, now)
	}
	if cfg.Reporter.OpenGate && s.Sysctl.Err == nil && !s.Sysctl.At.IsZero() && len(s.Sysctl.Value.Unsatisfied()) == 0 {
		k.node.OpenGate()
	}
}

// configured follows a reload.
func (k *kube) configured(p reporter.Policy) {
	k.node.Reconfigure(p.Conditions)
	if k.events != nil {
		k.events.Disable(p.Events.Disabled)
	}
}

// sayOfPod tells a pod, where the agent may write Events on pods, and its Node
// otherwise.
func (k *kube) sayOfPod(e reporter.Event, p reporter.DemandPolicy, now time.Time) {
	if k.events == nil {
		return
	}
	if !p.Enabled {
		e = k.events.OfPod(e)
	}
	k.events.Say(e, now)
}

// pressed reports whether a condition about use is True: it ends some passes
// after its cause.
func (k *kube) pressed() bool {
	for _, c := range k.node.Conditions() {
		if c.Status == corev1.ConditionTrue && (c.Type == reporter.InotifyPressure || c.Type == reporter.FileDescriptorPressure) {
			return true
		}
	}
	return false
}

func (k *kube) wrote(w reporter.NodeWrite) {
	var said []string
	for _, c := range w.Set {
		said = append(said, fmt.Sprintf("%s=%s", c.Type, c.Status))
	}
	for _, t := range w.Removed {
		said = append(said, fmt.Sprintf("%s removed", t))
	}
	if w.Gate {
		said = append(said, "taint "+reporter.GateTaint+" removed")
	}
	switch {
	case w.Err == nil:
		k.log.Info("wrote to the Node", "what", said)
	case w.Retry:
		k.log.Warn("could not write to the Node; trying again", "what", said, "err", w.Err)
	default:
		k.log.Error("the API server does not take this; not tried again until there is something new to say", "what", said, "err", w.Err)
	}
}
