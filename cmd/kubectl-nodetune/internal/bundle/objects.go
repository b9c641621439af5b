package bundle

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trim leaves out what a post-mortem does not need. The annotation of kubectl apply
// repeats the whole object, and other annotations may hold anything.
func trim(m *metav1.ObjectMeta) {
	m.ManagedFields, m.Annotations = nil, nil
}

// shownEnv are the variables of the container whose values are no secrets.
func shownEnv(name string) bool {
	return strings.HasPrefix(name, "NODETUNE_PATH_") || slices.Contains([]string{"NODE_NAME", "GOMEMLIMIT", "GOMAXPROCS"}, name)
}

// DaemonSet returns d without values of environment variables.
func DaemonSet(d appsv1.DaemonSet) appsv1.DaemonSet {
	d = *d.DeepCopy()
	trim(&d.ObjectMeta)
	podSpec(&d.Spec.Template.Spec)
	d.Spec.Template.Annotations = nil
	return d
}

// Pod returns p without values of environment variables.
func Pod(p corev1.Pod) corev1.Pod {
	p = *p.DeepCopy()
	trim(&p.ObjectMeta)
	podSpec(&p.Spec)
	return p
}

func podSpec(s *corev1.PodSpec) {
	s.EphemeralContainers = nil
	for _, containers := range [][]corev1.Container{s.InitContainers, s.Containers} {
		for i := range containers {
			for j := range containers[i].Env {
				if e := &containers[i].Env[j]; e.Value != "" && !shownEnv(e.Name) {
					e.Value = redacted
				}
			}
		}
	}
}

// Node keeps of n its conditions, its taints and what its kubelet reports of it.
func Node(n corev1.Node) corev1.Node {
	return corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, Labels: n.Labels, CreationTimestamp: n.CreationTimestamp},
		Spec:       corev1.NodeSpec{Taints: n.Spec.Taints, Unschedulable: n.Spec.Unschedulable},
		Status: corev1.NodeStatus{
			Capacity: n.Status.Capacity, Allocatable: n.Status.Allocatable, Conditions: n.Status.Conditions,
			NodeInfo: corev1.NodeSystemInfo{
				KernelVersion: n.Status.NodeInfo.KernelVersion, OSImage: n.Status.NodeInfo.OSImage, OperatingSystem: n.Status.NodeInfo.OperatingSystem,
				Architecture: n.Status.NodeInfo.Architecture, ContainerRuntimeVersion: n.Status.NodeInfo.ContainerRuntimeVersion, KubeletVersion: n.Status.NodeInfo.KubeletVersion,
			},
		},
	}
}

// ConfigMap returns m without its annotations.
func ConfigMap(m corev1.ConfigMap) corev1.ConfigMap {
	m = *m.DeepCopy()
	trim(&m.ObjectMeta)
	m.BinaryData = nil
	return m
}

// Event returns e without its annotations.
func Event(e corev1.Event) corev1.Event {
	trim(&e.ObjectMeta)
	return e
}
