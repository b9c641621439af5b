package scenario

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// Install, upgrade, roll back, uninstall, install again, with Helm. Nothing of
// nodetune stays behind but the floors and what /run holds until the next boot.
func TestLifecycle(t *testing.T) {
	holdKernel(t)
	before, asked := everything(t), requests(t)
	chart := filepath.Join(deploy, "chart")
	t.Cleanup(func() { // when the test fails half way
		_, _ = helm(context.Background(), "uninstall", "nodetune", "--namespace", namespace, "--ignore-not-found", "--no-hooks")
		node.DeleteNamespace(t, namespace)
	})

	mustHelm(t, "install", "nodetune", chart, "--namespace", namespace, "--create-namespace", "--wait", "--timeout", "3m")
	waitAgent(t)
	waitCondition(t, "InotifyPressure", corev1.ConditionFalse)
	drift := waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	if got := get(t, maxInstances); got != "8192" {
		t.Errorf("installed: %s is %s, want 8192", maxInstances, got)
	}

	// helm test runs check with the permissions of the agent, and shows what it finds.
	if out := mustHelm(t, "test", "nodetune", "--namespace", namespace, "--timeout", "2m", "--logs"); !strings.Contains(out, "Phase:          Succeeded") || !strings.Contains(out, maxInstances) || !strings.Contains(out, "InForce") {
		t.Errorf("helm test shows\n%s", out)
	}

	// A higher floor arrives without a new pod, for it is configuration.
	pod := waitAgent(t).UID
	mustHelm(t, "upgrade", "nodetune", chart, "--namespace", namespace, "--wait", "--timeout", "3m",
		"--set", "config.sysctl.rules[0].key="+maxInstances, "--set", "config.sysctl.rules[0].atLeast=9000")
	waitValue(t, maxInstances, "9000")
	if now := waitAgent(t).UID; now != pod {
		t.Errorf("a change of the configuration replaced the pod")
	}
	// An upgrade of the pod itself.
	mustHelm(t, "upgrade", "nodetune", chart, "--namespace", namespace, "--wait", "--timeout", "3m", "--set", "podAnnotations.version=two")
	if now := waitAgent(t).UID; now == pod {
		t.Errorf("the upgrade left the pod as it was")
	}
	// A restart keeps the condition's age.
	after := waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	if !after.LastTransitionTime.Equal(&drift.LastTransitionTime) {
		t.Errorf("the upgrade moved LastTransitionTime of SysctlDrift from %v to %v", drift.LastTransitionTime, after.LastTransitionTime)
	}
	mustHelm(t, "rollback", "nodetune", "1", "--namespace", namespace, "--wait", "--timeout", "3m")
	waitAgent(t)
	if got := get(t, maxInstances); got != "9000" {
		t.Errorf("the rollback changed %s to %s; a floor never lowers", maxInstances, got)
	}

	notRefused(t, requests(t)[len(asked):])
	mustHelm(t, "uninstall", "nodetune", "--namespace", namespace, "--wait", "--timeout", "3m")
	cluster.Eventually(t, "no condition of nodetune is left", func(ctx context.Context) error {
		n, err := node.Client.CoreV1().Nodes().Get(ctx, sandbox.Hostname, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, f := range n.ManagedFields {
			if f.Manager == "nodetune" {
				return fmt.Errorf("nodetune still owns %v", f.FieldsV1)
			}
		}
		for _, c := range n.Status.Conditions {
			if slices.Contains([]corev1.NodeConditionType{"InotifyPressure", "FileDescriptorPressure", "SysctlDrift", "LogDiskPressure", "LogCollectorStalled"}, c.Type) {
				return fmt.Errorf("%s is left", c.Type)
			}
		}
		return nil
	})
	node.DeleteNamespace(t, namespace)
	if left := added(before, everything(t)); len(left) > 0 {
		t.Errorf("the API server still has %q", left)
	}
	if got := get(t, maxInstances); got != "9000" {
		t.Errorf("uninstalled: %s is %s, want 9000 to stay", maxInstances, got)
	}
	for _, dir := range []string{"/etc/nodetune", "/var/lib/nodetune", "/etc/sysctl.d/90-nodetune.conf", "/var/log/nodetune"} {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	if _, err := os.Stat("/run/nodetune/originals.json"); err != nil {
		t.Errorf("what restore needs is gone before the next boot: %v", err)
	}

	mustHelm(t, "install", "nodetune", chart, "--namespace", namespace, "--create-namespace", "--wait", "--timeout", "3m")
	waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	mustHelm(t, "uninstall", "nodetune", "--namespace", namespace, "--wait", "--timeout", "3m")
	node.MustKubectl(t, "", "-n", namespace, "wait", "--for=delete", "pod", "--selector=app.kubernetes.io/component=agent", "--timeout=3m")
	out, err := nodetune(t.Context(), "restore")
	if err != nil {
		t.Errorf("restore: %v: %s", err, out)
	}
	if got := get(t, maxInstances); got != "128" {
		t.Errorf("restored: %s is %s, want 128 as before: %s", maxInstances, got, out)
	}
}

func waitValue(t *testing.T, key, want string) {
	t.Helper()
	cluster.Eventually(t, key+" is "+want, func(context.Context) error {
		if got := get(t, key); got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

func helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "../bin/helm", args...)
	home := filepath.Join(sandbox.Dir(), "helm")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+node.Kubeconfig, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustHelm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := helm(t.Context(), args...)
	if err != nil {
		pods, _ := node.Kubectl(t.Context(), "-n", namespace, "describe", "pods")
		t.Fatalf("helm %s: %v\n%s\n%s", strings.Join(args, " "), err, out, pods)
	}
	return out
}

// everything returns the name of each object of the cluster, of the kinds that
// a chart may make; not those that come and go by themselves.
func everything(t *testing.T) []string {
	t.Helper()
	kinds := strings.Fields(node.MustKubectl(t, "", "api-resources", "--verbs=list", "--output=name"))
	kinds = slices.DeleteFunc(kinds, func(k string) bool { return strings.HasPrefix(k, "events") || k == "leases.coordination.k8s.io" })
	out := node.MustKubectl(t, "", "get", strings.Join(kinds, ","), "--all-namespaces", "--output=name", "--ignore-not-found")
	return strings.Fields(out)
}

func added(before, after []string) []string {
	return slices.DeleteFunc(after, func(name string) bool { return slices.Contains(before, name) })
}
