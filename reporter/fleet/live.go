package fleet

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/reporter/view"
)

// LiveUse is what an agent answered.
type LiveUse struct {
	Instances Use          `json:"instances"` // of the account nearest its limit
	Watches   Use          `json:"watches"`
	OpenFiles Use          `json:"open_files"`
	Top       *TopConsumer `json:"top,omitempty"` // of the most instances
	Error     string       `json:"error,omitempty"`
}

// TopConsumer is a process that holds some of what is limited.
type TopConsumer struct {
	PID       int    `json:"pid"`
	Comm      string `json:"comm"`
	Used      int64  `json:"used"`
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Unit      string `json:"unit,omitempty"`
}

// Use is how much of a limit is used.
type Use struct {
	Used  int64      `json:"used"`
	Limit view.Limit `json:"limit"`
}

// Percent returns the share in use.
func (u Use) Percent() float64 { return u.Limit.Percent(u.Used) }

func (l *LiveUse) most() float64 {
	if l == nil || l.Error != "" {
		return -1
	}
	return max(l.Instances.Percent(), l.Watches.Percent(), l.OpenFiles.Percent())
}

// summarizeUse reads an agent's report.
func summarizeUse(u *view.Inotify) *LiveUse {
	l := &LiveUse{
		Instances: Use{Limit: u.Limits.Instances}, Watches: Use{Limit: u.Limits.Watches},
		OpenFiles: Use{u.Limits.OpenFiles, u.Limits.FileMax},
	}
	for _, a := range u.Accounts {
		if use := (Use{a.Instances, a.InstancesLimit}); use.Percent() >= l.Instances.Percent() {
			l.Instances = use
		}
		if use := (Use{a.Watches, a.WatchesLimit}); use.Percent() >= l.Watches.Percent() {
			l.Watches = use
		}
	}
	for _, p := range u.Processes {
		if p.Instances > 0 && (l.Top == nil || p.Instances > l.Top.Used) {
			l.Top = &TopConsumer{
				PID: p.PID, Comm: p.Comm, Used: p.Instances,
				Namespace: p.Namespace, Pod: p.Pod, Container: p.Container, Unit: p.Unit,
			}
		}
	}
	return l
}

// API is what is asked of an API server.
type API struct {
	ListPods func(ctx context.Context, namespace string, o metav1.ListOptions) (*corev1.PodList, error)
	// Proxy asks a port of a pod for path.
	Proxy func(ctx context.Context, pod types.NamespacedName, scheme, port, path string) (io.ReadCloser, error)
}

// Agents is where the agents are.
type Agents struct {
	Namespace string // "" is all
	Selector  string // of labels
}

// maxParallelQueries bounds the requests under way: each passes through the API server.
const maxParallelQueries = 16

// QueryAgents sets Live of each of nodes by asking the agent on it through the
// API server's pod proxy, as the caller. An agent that cannot be asked has an
// Error.
func QueryAgents(ctx context.Context, client API, agents Agents, nodes []Node) error {
	on, err := agentsOn(ctx, client, agents)
	if err != nil {
		return err
	}
	slots := make(chan struct{}, maxParallelQueries)
	var all sync.WaitGroup
	for i := range nodes {
		pod, ok := on[nodes[i].Name]
		if !ok {
			nodes[i].Live = &LiveUse{Error: fmt.Sprintf("no running pod with labels %s on this node", agents.Selector)}
			continue
		}
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			nodes[i].Live = queryAgent(ctx, client, pod)
		})
	}
	all.Wait()
	return ctx.Err()
}

// podPage is how many pods are listed at a time.
const podPage = 500

// answerTimeout bounds one request to an agent.
const answerTimeout = 30 * time.Second

type agentPod struct{ namespace, name, scheme, port string }

// agentsOn returns the agents' pods by node. A label makes no agent: where pods of two
// namespaces have it, none is asked, since one of them may be a tenant's.
func agentsOn(ctx context.Context, client API, agents Agents) (map[string]agentPod, error) {
	on := make(map[string]agentPod)
	var first *agentPod
	options := metav1.ListOptions{LabelSelector: agents.Selector, FieldSelector: "status.phase=Running", Limit: podPage}
	for {
		pods, err := client.ListPods(ctx, agents.Namespace, options)
		if err != nil {
			return nil, fmt.Errorf("list the agents' pods: %w", err)
		}
		for _, p := range pods.Items {
			scheme, port := Endpoint(&p)
			pod := agentPod{p.Namespace, p.Name, scheme, port}
			if first == nil {
				first = &pod
			}
			if first.namespace != p.Namespace {
				return nil, fmt.Errorf("pods %s/%s and %s/%s have the labels %s, and not all need be nodetune's: give --agent-namespace", first.namespace, first.name, p.Namespace, p.Name, agents.Selector)
			}
			on[p.Spec.NodeName] = pod
		}
		if options.Continue = pods.Continue; options.Continue == "" {
			return on, nil
		}
	}
}

// Endpoint is the port called metrics or http, else the default one, and how
// its probes speak to it: with TLS in --web.config.file they have to say HTTPS.
func Endpoint(p *corev1.Pod) (scheme, port string) {
	for _, c := range p.Spec.Containers {
		for _, cp := range c.Ports {
			if cp.Name != "metrics" && cp.Name != "http" {
				continue
			}
			for _, probe := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
				if probe != nil && probe.HTTPGet != nil && probe.HTTPGet.Scheme == corev1.URISchemeHTTPS {
					return "https", strconv.Itoa(int(cp.ContainerPort))
				}
			}
			return "http", strconv.Itoa(int(cp.ContainerPort))
		}
	}
	return "http", "9409"
}

func queryAgent(ctx context.Context, client API, pod agentPod) *LiveUse {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := client.Proxy(ctx, types.NamespacedName{Namespace: pod.namespace, Name: pod.name}, pod.scheme, pod.port, "report")
	if apierrors.IsUnauthorized(err) { // the API server has let us list pods
		return &LiveUse{Error: fmt.Sprintf("pod %s/%s wants a password, which the API server does not pass on: use TLS without basic_auth_users in --web.config.file, and a NetworkPolicy", pod.namespace, pod.name)}
	}
	if apierrors.IsNotFound(err) {
		return &LiveUse{Error: fmt.Sprintf("pod %s/%s does not answer with its report: set web.report: open in its configuration", pod.namespace, pod.name)}
	}
	if err != nil {
		return &LiveUse{Error: fmt.Sprintf("ask pod %s/%s: %v", pod.namespace, pod.name, err)}
	}
	defer func() { _ = answer.Close() }()
	d, err := view.Decode(answer)
	if err != nil {
		return &LiveUse{Error: fmt.Sprintf("read the report of pod %s/%s: %v", pod.namespace, pod.name, err)}
	}
	if d.Inotify == nil {
		why := "has not counted yet"
		if e := d.Errors["inotify"]; e != "" {
			why = e
		}
		return &LiveUse{Error: fmt.Sprintf("pod %s/%s: %s", pod.namespace, pod.name, why)}
	}
	return summarizeUse(d.Inotify)
}
