package cluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/sandbox"
)

var shared *Cluster

func TestMain(m *testing.M) {
	os.Exit(Main(Options{}, sandbox.Options{}, func(c *Cluster) int {
		shared = c
		return m.Run()
	}))
}

func TestPodRunsLogsAndExec(t *testing.T) {
	ns := shared.Namespace(t, nil)
	shared.Create(t, Shell(ns, "talk", "echo hello; exec sleep 1000"))
	shared.WaitPod(t, ns, "talk", "Ready", PodReady)
	Eventually(t, "logs", func(context.Context) error {
		if got := shared.Logs(t, ns, "talk"); got != "hello\n" {
			return fmt.Errorf("logs are %q", got)
		}
		return nil
	})
	out := shared.MustKubectl(t, "", "-n", ns, "exec", "talk", "--", "cat", "/proc/1/cmdline")
	if got := strings.Split(out, "\x00")[0]; got != "sleep" {
		t.Errorf("PID 1 of the pod is %q, want sleep", got)
	}
}

// A pod survives a restart of the kubelet and of containerd, as on any node.
func TestRestarts(t *testing.T) {
	ns := shared.Namespace(t, nil)
	shared.Create(t, Shell(ns, "stay", "exec sleep 1000"))
	before := shared.WaitPod(t, ns, "stay", "Ready", PodReady)
	for _, p := range []*Process{shared.Kubelet, shared.Containerd, shared.Server} {
		if err := p.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := shared.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	shared.Create(t, Shell(ns, "after", "exit 0"))
	shared.WaitPod(t, ns, "after", "Succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
	after := shared.WaitPod(t, ns, "stay", "Ready", PodReady)
	if b, a := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]; a.ContainerID != b.ContainerID {
		t.Errorf("the restarts replaced container %s by %s", b.ContainerID, a.ContainerID)
	}
}

// The kubelet's own claim about itself is what the node says.
func TestNodeIsReal(t *testing.T) {
	node, err := shared.Client.CoreV1().Nodes().Get(t.Context(), sandbox.Hostname, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v := node.Status.NodeInfo.KubeletVersion; !strings.HasPrefix(v, "v1.34.") {
		t.Errorf("kubelet version is %q, want v1.34.x", v)
	}
}
