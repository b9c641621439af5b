package scenario

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// The kubelet, containerd and the API server restart or go away under it, and
// nodetune holds its floors and speaks again when they are back.
func TestRestartsAroundIt(t *testing.T) {
	holdKernel(t)
	install(t, "default")
	waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	restarts := waitAgent(t).Status.ContainerStatuses[0].RestartCount

	for _, p := range []*cluster.Process{node.Kubelet, node.Containerd} {
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	set(t, maxInstances, "128")
	waitValue(t, maxInstances, "8192")

	node.Server.Stop()
	set(t, maxInstances, "128")
	waitValue(t, maxInstances, "8192")
	if err := node.Server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := node.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	if n := waitAgent(t).Status.ContainerStatuses[0].RestartCount; n != restarts {
		t.Errorf("nodetune restarted %d times meanwhile", n-restarts)
	}
}

// A DaemonSet's agent and one on the host itself: the second says who is there
// and leaves, and a one-shot still works beside an agent.
func TestTwoOnOneNode(t *testing.T) {
	holdKernel(t)
	install(t, "default")
	out, err := nodetune(t.Context(), "run", "--web.listen-address=127.0.0.1:9410")
	if err == nil || !strings.Contains(out, "agent") {
		t.Errorf("a second agent: %v, want it to say that one runs: %s", err, out)
	}
	set(t, maxInstances, "128")
	cluster.Eventually(t, "apply works beside the agent", func(ctx context.Context) error {
		out, err := nodetune(ctx, "apply")
		if err != nil {
			return fmt.Errorf("apply: %w: %s", err, out)
		}
		return nil
	})
	if got := get(t, maxInstances); got != "8192" {
		t.Errorf("%s is %s, want 8192", maxInstances, got)
	}
	if out, err := nodetune(t.Context(), "restore"); err == nil {
		t.Errorf("restore works against the agent, which would raise the values again: %s", out)
	}
}
