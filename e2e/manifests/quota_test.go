package manifests_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// limitedResources is the admission of GKE: a pod of a priority of the system needs a
// ResourceQuota of its namespace that allows the priority.
const limitedResources = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ResourceQuota
    configuration:
      apiVersion: apiserver.config.k8s.io/v1
      kind: ResourceQuotaConfiguration
      limitedResources:
        - resource: pods
          matchScopes:
            - scopeName: PriorityClass
              operator: In
              values: [system-node-critical, system-cluster-critical]
`

// A real API server with the admission of GKE and the real controllers of DaemonSets
// and quotas: only with the quota of deploy/ does a DaemonSet get its pods.
func TestAdmissionOfGKE(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "admission.yaml")
	if err := os.WriteFile(config, []byte(limitedResources), 0o600); err != nil {
		t.Fatal(err)
	}
	gke, err := cluster.StartAPI(t.Context(), dir, "--admission-control-config-file="+config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gke.Stop)
	manager, err := gke.ControllerManager("--controllers=daemonset-controller,resourcequota-controller,serviceaccount-controller", "--secure-port=0")
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(manager.Stop)
	one := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "one", Labels: map[string]string{"kubernetes.io/os": "linux", "pool": "gpu"}}}
	if _, err := gke.Client.CoreV1().Nodes().Create(t.Context(), one, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	install := func(t *testing.T, namespace string, sets ...string) string {
		args := []string{"template", "nodetune", filepath.Join(deploy, "chart"), "--namespace", namespace, "--no-hooks"}
		for _, s := range sets {
			args = append(args, "--set", s)
		}
		return helm(t, args...)
	}
	for _, tt := range []struct {
		name, namespace string
		text            func(t *testing.T) string
		refused         bool
		pods            int
	}{
		{name: "without the overlay", namespace: "nodetune", refused: true, text: func(t *testing.T) string { return kustomize(t, "default") }},
		{name: "the overlay over it", namespace: "nodetune", pods: 1, text: func(t *testing.T) string { return kustomize(t, "gke") }},
		{name: "the component in another namespace", namespace: "platform", pods: 1, text: func(t *testing.T) string {
			return kustomizeIn(t, "namespace: platform\n", "gke")
		}},
		{name: "the component with a prefix", namespace: "prefixed", pods: 1, text: func(t *testing.T) string {
			return kustomizeIn(t, "namespace: prefixed\nnamePrefix: a-\nnameSuffix: -b\n", "gke")
		}},
		{name: "the chart", namespace: "chart", refused: true, text: func(t *testing.T) string { return install(t, "chart") }},
		{name: "the chart with resourceQuota", namespace: "chart", pods: 1, text: func(t *testing.T) string {
			return install(t, "chart", "resourceQuota.enabled=true")
		}},
		{name: "the chart with namespaceOverride", namespace: "override", pods: 1, text: func(t *testing.T) string {
			return install(t, "chart", "resourceQuota.enabled=true", "namespaceOverride=override")
		}},
		{name: "another priority", namespace: "priority", pods: 1, text: func(t *testing.T) string {
			return install(t, "priority", "resourceQuota.enabled=true", "priorityClassName=system-cluster-critical")
		}},
		{name: "a pool with a priority of its own", namespace: "pools", pods: 2, text: func(t *testing.T) string {
			return install(t, "pools", "resourceQuota.enabled=true", "pools[0].name=cpu", "pools[0].nodeSelector.kubernetes\\.io/os=linux", "pools[1].name=gpu", "pools[1].nodeSelector.pool=gpu", "pools[1].priorityClassName=system-cluster-critical")
		}},
		{name: "a priority that needs no quota", namespace: "none", pods: 1, text: func(t *testing.T) string {
			return install(t, "none", "priorityClassName=")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := gke.Client.CoreV1().Namespaces().Get(t.Context(), tt.namespace, metav1.GetOptions{}); err != nil {
				gke.MustKubectl(t, "", "create", "namespace", tt.namespace)
			}
			gke.MustKubectl(t, tt.text(t), "apply", "-f", "-")
			cluster.Eventually(t, "the DaemonSet's controller creates pods or is refused", func(ctx context.Context) error {
				pods, err := gke.Client.CoreV1().Pods(tt.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
				if err != nil {
					return err
				}
				events, err := gke.Client.CoreV1().Events(tt.namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
				if err != nil {
					return err
				}
				refused := false
				for _, e := range events.Items {
					refused = refused || strings.Contains(e.Message, "insufficient quota to match these scopes")
				}
				if len(pods.Items) != tt.pods || tt.refused && !refused {
					return fmt.Errorf("%d pods, want %d; refused: %v, want %v", len(pods.Items), tt.pods, refused, tt.refused)
				}
				return nil
			})
		})
	}
}
