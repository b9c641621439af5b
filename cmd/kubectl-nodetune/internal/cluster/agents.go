package cluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/reporter/fleet"
)

// Agent is a pod of the DaemonSet.
type Agent struct {
	Pod       types.NamespacedName
	Node      string
	Container string
	Scheme    string
	Port      string
	Object    corev1.Pod
}

// Agents returns the agents' pods, by node. Namespace "" is all.
func (c *Client) Agents(ctx context.Context, namespace, selector string) ([]Agent, error) {
	var all []Agent
	o := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		list, err := c.ListPods(ctx, namespace, o)
		if err != nil {
			return nil, fmt.Errorf("list the agents' pods: %w", err)
		}
		for _, p := range list.Items {
			if !runsAgent(&p) {
				continue
			}
			scheme, port := fleet.Endpoint(&p)
			all = append(all, Agent{
				Pod: types.NamespacedName{Namespace: p.Namespace, Name: p.Name}, Node: p.Spec.NodeName,
				Container: container(&p), Scheme: scheme, Port: port, Object: p,
			})
		}
		if o.Continue = list.Continue; o.Continue == "" {
			slices.SortStableFunc(all, func(a, b Agent) int { return rank(a) - rank(b) })
			return all, nil
		}
	}
}

// runsAgent leaves out pods of Jobs, such as the cleanup of an uninstall.
func runsAgent(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "DaemonSet" })
}

func container(p *corev1.Pod) string {
	for _, c := range p.Spec.Containers {
		if c.Name == "nodetune" {
			return c.Name
		}
	}
	if len(p.Spec.Containers) > 0 {
		return p.Spec.Containers[0].Name
	}
	return ""
}

// rank puts running pods first: a node may have one that terminates beside its
// successor.
func rank(a Agent) int {
	switch {
	case a.Object.DeletionTimestamp != nil:
		return 2
	case a.Object.Status.Phase != corev1.PodRunning:
		return 1
	}
	return 0
}

// On returns the agent of a node.
func On(all []Agent, node string) (Agent, bool) {
	i := slices.IndexFunc(all, func(a Agent) bool { return a.Node == node })
	if i < 0 {
		return Agent{}, false
	}
	return all[i], true
}

// Running reports whether the agent can be asked.
func (a Agent) Running() bool { return rank(a) == 0 }

// Restarted reports whether there is a log of a container before.
func (a Agent) Restarted() bool {
	return slices.ContainsFunc(a.Object.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.Name == a.Container && c.RestartCount > 0
	})
}
