package scenario

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// A pod asks for fs.inotify.* in its securityContext, and the kubelet refuses
// it. An Event on that pod says why that can never be allowed and what to write
// instead; the pod that does so runs, and has its floor.
func TestSysctlForbidden(t *testing.T) {
	holdKernel(t)
	ns := node.Namespace(t, nil)
	pod := cluster.Shell(ns, "lakefs", "exec sleep 1000")
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: maxInstances, Value: "9000"}}}
	node.Create(t, pod)
	refused := node.WaitPod(t, ns, "lakefs", "refused", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if refused.Status.Reason != "SysctlForbidden" {
		t.Fatalf("the kubelet refuses it for another reason: %s: %s", refused.Status.Reason, refused.Status.Message)
	}
	if got := get(t, maxInstances); got != "128" {
		t.Fatalf("%s is %s before nodetune is there", maxInstances, got)
	}

	install(t, "pod-demands")
	waitEvent(t, ns, "lakefs", "NodeWideSysctl", "nodetune.io/sysctl-floor")

	pod = cluster.Shell(ns, "annotated", "exec sleep 1000")
	pod.Annotations = map[string]string{"nodetune.io/sysctl-floor": maxInstances + "=9000"}
	node.Create(t, pod)
	node.WaitPod(t, ns, "annotated", "Ready", cluster.PodReady)
	waitValue(t, maxInstances, "9000")

	// Over the ceiling: it gets the ceiling, and an Event says so.
	pod = cluster.Shell(ns, "greedy", "exec sleep 1000")
	pod.Annotations = map[string]string{"nodetune.io/sysctl-floor": maxInstances + "=100000000"}
	node.Create(t, pod)
	waitEvent(t, ns, "greedy", "DemandOverCeiling", "")

	// A pod that ends lowers nothing.
	node.MustKubectl(t, "", "-n", ns, "delete", "pod", "annotated", "greedy", "--now")
	set(t, maxInstances, "128")
	cluster.Eventually(t, "the admin's floor holds", func(context.Context) error {
		if got := get(t, maxInstances); got == "128" {
			return fmt.Errorf("%s is still 128", maxInstances)
		}
		return nil
	})
}
