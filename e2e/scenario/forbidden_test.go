package scenario

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	cluster.Eventually(t, "an Event on the refused pod explains", func(ctx context.Context) error {
		events, err := node.Client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=lakefs"})
		if err != nil {
			return err
		}
		var said []string
		for _, e := range events.Items {
			if strings.Contains(e.Message, "nodetune.io/sysctl-floor") {
				t.Logf("%s %s: %s", e.Type, e.Reason, e.Message)
				return nil
			}
			said = append(said, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("there are only %q", said)
	})

	pod = cluster.Shell(ns, "annotated", "exec sleep 1000")
	pod.Annotations = map[string]string{"nodetune.io/sysctl-floor": maxInstances + "=9000"}
	node.Create(t, pod)
	node.WaitPod(t, ns, "annotated", "Ready", cluster.PodReady)
	waitValue(t, maxInstances, "9000")

	// Over the ceiling: it gets the ceiling, and an Event says so.
	pod = cluster.Shell(ns, "greedy", "exec sleep 1000")
	pod.Annotations = map[string]string{"nodetune.io/sysctl-floor": maxInstances + "=100000000"}
	node.Create(t, pod)
	cluster.Eventually(t, "a Warning on the pod that asks for too much", func(ctx context.Context) error {
		events, err := node.Client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=greedy"})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if e.Type == corev1.EventTypeWarning && e.Source.Component == "nodetune" || e.ReportingController == "nodetune" {
				t.Logf("%s %s: %s", e.Type, e.Reason, e.Message)
				return nil
			}
		}
		return fmt.Errorf("there is none among %d", len(events.Items))
	})

	// Who leaves lowers nothing.
	node.MustKubectl(t, "", "-n", ns, "delete", "pod", "annotated", "greedy", "--now")
	set(t, maxInstances, "128")
	cluster.Eventually(t, "the admin's floor holds", func(context.Context) error {
		if got := get(t, maxInstances); got == "128" {
			return fmt.Errorf("%s is still 128", maxInstances)
		}
		return nil
	})
}
