package scenario

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// Before its CNI plugin is there a node is NotReady, and no pod with a network of its
// own starts. On the host's network nodetune starts there, holds its floors and
// publishes conditions.
func TestHostNetworkBeforeCNI(t *testing.T) {
	holdKernel(t)
	back := withoutCNI(t)
	cluster.Eventually(t, "the node waits for its network", func(ctx context.Context) error {
		ready, err := condition(ctx, corev1.NodeReady)
		if err != nil {
			return err
		}
		if ready == nil || ready.Status != corev1.ConditionFalse {
			return fmt.Errorf("Ready is %+v", ready)
		}
		return nil
	})
	ns := node.Namespace(t, nil)
	waits := cluster.Shell(ns, "waits", "sleep 1000")
	waits.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	node.Create(t, waits)
	node.WaitPod(t, ns, "waits", "is on the node", func(p *corev1.Pod) bool { return p.Spec.NodeName != "" })

	// Without the grant a pod waits for the plugin.
	inTable(t, "`hostNetwork` (overlay host-network)")
	cluster.Eventually(t, "the kubelet says why the pod waits", func(ctx context.Context) error {
		events, err := node.Client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=waits"})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(events.Items, func(e corev1.Event) bool { return strings.Contains(e.Message, "network is not ready") }) {
			return fmt.Errorf("there are %d Events", len(events.Items))
		}
		return nil
	})

	install(t, "host-network")
	waitValue(t, maxInstances, "8192")
	waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	agent := waitAgent(t)
	if agent.Status.PodIP != sandbox.NodeAddress {
		t.Errorf("the agent's address is %s, want the node's", agent.Status.PodIP)
	}
	if ready, err := condition(t.Context(), corev1.NodeReady); err != nil || ready.Status != corev1.ConditionFalse {
		t.Errorf("the node became Ready without a CNI plugin: %+v, %v", ready, err)
	}
	if p := node.WaitPod(t, ns, "waits", "is known", func(*corev1.Pod) bool { return true }); p.Status.Phase != corev1.PodPending {
		t.Errorf("a pod with a network of its own is %s", p.Status.Phase)
	}
	back()
	if err := node.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	node.WaitPod(t, ns, "waits", "runs once the plugin is there", cluster.PodReady)
}

// withoutCNI takes the configuration of the CNI plugin away, as on a node whose plugin
// is not installed yet, and returns what puts it back.
func withoutCNI(t *testing.T) (back func()) {
	t.Helper()
	config := node.CNIConfig()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	back = func() {
		if err := os.WriteFile(config, text, 0o644); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		back()
		if err := node.WaitReady(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return back
}
