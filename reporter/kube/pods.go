package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/sysctl"
)

// Pods watches the pods of one node and keeps what they ask for: some hundred
// bytes of those that ask, nothing of the others.
type Pods struct {
	client  Resource[corev1.Pod, corev1.PodList]
	node    string
	changed func()
	reached func(error)

	mu       sync.Mutex
	demands  map[types.NamespacedName]PodDemand
	rejected map[types.NamespacedName]Event // pods that no kubelet can admit
}

// NewPods watches the pods that are bound to node. changed is called after what
// they ask for may have changed; reached as in [NodeHooks].
func NewPods(client *Client, node string, changed func(), reached func(error)) *Pods {
	return &Pods{
		client: client.Pods(corev1.NamespaceAll), node: node, changed: changed, reached: reached,
		demands: make(map[types.NamespacedName]PodDemand), rejected: make(map[types.NamespacedName]Event),
	}
}

// Run watches until ctx is done.
func (p *Pods) Run(ctx context.Context) {
	ofNode := fields.OneTermEqualSelector("spec.nodeName", p.node).String()
	follow(ctx, newListWatch(p.client.List, p.client.Watch, ofNode, p.reached), &corev1.Pod{}, podStore{p})
}

// Demands returns what the pods of the node ask for, by namespace and name.
func (p *Pods) Demands() []PodDemand {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]PodDemand, 0, len(p.demands))
	for _, d := range p.demands {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b PodDemand) int {
		return strings.Compare(a.Namespace+"/"+a.Pod, b.Namespace+"/"+b.Pod)
	})
	return all
}

// RejectedPods returns an Event for each pod that the kubelet rejects for asking for a
// setting of the whole node.
func (p *Pods) RejectedPods() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Event, 0, len(p.rejected))
	for _, e := range p.rejected {
		all = append(all, e)
	}
	return all
}

func (p *Pods) put(pod *corev1.Pod) {
	name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
	delete(p.demands, name)
	delete(p.rejected, name)
	if d, ok := demandOf(pod); ok {
		p.demands[name] = d
	}
	if e, ok := nodeWideSysctl(pod); ok {
		p.rejected[name] = e
	}
}

// demandOf reads the annotations of a pod that has not ended.
func demandOf(pod *corev1.Pod) (PodDemand, bool) {
	floors, hasFloors := pod.Annotations[FloorAnnotation]
	instances, hasInstances := pod.Annotations[InstancesAnnotation]
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if ended || !hasFloors && !hasInstances {
		return PodDemand{}, false
	}
	d := PodDemand{Namespace: pod.Namespace, Pod: pod.Name, UID: pod.UID, RunAs: runAs(pod)}
	var wrong []error
	if hasFloors {
		var err error
		if d.Floors, err = ParseFloors(floors); err != nil {
			wrong = append(wrong, fmt.Errorf("annotation %s: %w", FloorAnnotation, err))
		}
	}
	if hasInstances {
		var err error
		if d.Instances, err = parseCount(instances); err != nil {
			wrong = append(wrong, fmt.Errorf("annotation %s: %w", InstancesAnnotation, err))
		}
	}
	d.Err = errors.Join(wrong...)
	return d, true
}

// runAs is the user of the pod's processes as far as its spec says: root, of
// whom there is most use, where it does not. A pod with a user namespace of its
// own is charged to root, too, who made that namespace.
func runAs(pod *corev1.Pod) uint32 {
	if s := pod.Spec.SecurityContext; s != nil && s.RunAsUser != nil && (pod.Spec.HostUsers == nil || *pod.Spec.HostUsers) {
		return uint32(*s.RunAsUser)
	}
	return 0
}

// NodeWideSysctl is the reason of the Event for a pod that the kubelet rejects
// with SysctlForbidden.
const NodeWideSysctl = "NodeWideSysctl"

// nodeWideSysctl explains SysctlForbidden where no configuration of the kubelet
// can help: --allowed-unsafe-sysctls takes namespaced sysctls alone, and the
// kubelet does not start with another (pkg/kubelet/sysctl/allowlist.go).
func nodeWideSysctl(pod *corev1.Pod) (Event, bool) {
	if pod.Status.Reason != "SysctlForbidden" || pod.Spec.SecurityContext == nil {
		return Event{}, false
	}
	var keys, floors []string
	for _, s := range pod.Spec.SecurityContext.Sysctls {
		key, err := sysctl.ParseKey(s.Name)
		if err != nil || !strings.HasPrefix(string(key), "fs.") || strings.HasPrefix(string(key), "fs.mqueue.") {
			continue
		}
		keys = append(keys, string(key))
		if _, err := parseCount(s.Value); err == nil {
			floors = append(floors, string(key)+"="+s.Value)
		}
	}
	if len(keys) == 0 {
		return Event{}, false
	}
	m := fmt.Sprintf("%s: one setting for the whole node, so no kubelet can allow it in a pod's securityContext.sysctls; remove it there", strings.Join(keys, ", "))
	if len(floors) > 0 {
		m += fmt.Sprintf(" and annotate the pod with %s: %q", FloorAnnotation, strings.Join(floors, ","))
	}
	return Event{Object: podReference(pod.Namespace, pod.Name, pod.UID), Type: corev1.EventTypeWarning, Reason: NodeWideSysctl, Message: truncateMessage(m)}, true
}

func podReference(namespace, name string, uid types.UID) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: name, UID: uid}
}

// RejectedDemandEvent is the Event on a pod whose demand was rejected.
func RejectedDemandEvent(r RejectedDemand) Event {
	return Event{
		Object: podReference(r.Demand.Namespace, r.Demand.Pod, r.Demand.UID),
		Type:   corev1.EventTypeWarning, Reason: r.Reason, Message: truncateMessage(r.Message),
	}
}

// podStore is where the watch puts pods.
type podStore struct{ p *Pods }

func (s podStore) Add(o any) error { return s.Update(o) }

func (s podStore) Resync() error { return nil }

func (s podStore) Update(o any) error {
	s.p.mu.Lock()
	s.p.put(o.(*corev1.Pod))
	s.p.mu.Unlock()
	s.p.changed()
	return nil
}

func (s podStore) Delete(o any) error {
	if pod, ok := o.(*corev1.Pod); ok {
		name := types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
		s.p.mu.Lock()
		delete(s.p.demands, name)
		delete(s.p.rejected, name)
		s.p.mu.Unlock()
		s.p.changed()
	}
	return nil
}

func (s podStore) Replace(list []any, _ string) error {
	s.p.mu.Lock()
	clear(s.p.demands)
	clear(s.p.rejected)
	for _, o := range list {
		s.p.put(o.(*corev1.Pod))
	}
	s.p.mu.Unlock()
	s.p.changed()
	return nil
}
