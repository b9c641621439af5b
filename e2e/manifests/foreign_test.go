package manifests_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// kustomizeIn builds a Kustomization with the lines given over components of deploy/.
func kustomizeIn(t *testing.T, lines string, components ...string) string {
	t.Helper()
	return api.MustKubectl(t, "", "kustomize", kustomizationOf(t, lines, components...))
}

// kustomizationOf makes the directory that kustomizeIn builds.
func kustomizationOf(t *testing.T, lines string, components ...string) string {
	t.Helper()
	// Kustomize takes relative paths alone.
	top, err := filepath.Abs(deploy)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	relative, err := filepath.Rel(dir, top)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("resources: [%s/base]\n%scomponents:\n", relative, lines)
	for _, c := range components {
		text += fmt.Sprintf("  - %s/components/%s\n", relative, c)
	}
	if len(components) == 0 {
		text = strings.TrimSuffix(text, "components:\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// In a namespace that is not nodetune an agent may do what it may there: write its
// own Node and Events of it, and no other node.
func TestForeignNamespace(t *testing.T) {
	helmIn := func(namespace string, sets ...string) string {
		args := []string{"template", "nodetune", filepath.Join(deploy, "chart"), "--namespace", namespace, "--no-hooks"}
		for _, s := range sets {
			args = append(args, "--set", s)
		}
		return helm(t, args...)
	}
	for _, tt := range []struct {
		name, namespace, account string
		text                     func(t *testing.T) string
		pods                     bool // it may write Events about pods
	}{
		{name: "kustomize", namespace: "platform", account: "nodetune", text: func(t *testing.T) string {
			return kustomizeIn(t, "namespace: platform\n")
		}},
		{name: "kustomize with components", namespace: "platform", account: "nodetune", pods: true, text: func(t *testing.T) string {
			return kustomizeIn(t, "namespace: platform\n", "pod-demands", "startup-taint", "assist", "network-policy", "gke")
		}},
		{name: "chart", namespace: "platform", account: "nodetune", text: func(*testing.T) string { return helmIn("platform") }},
		{name: "chart, namespaceOverride", namespace: "platform", account: "nodetune", text: func(*testing.T) string {
			return helmIn("default", "namespaceOverride=platform")
		}},
		{name: "chart, another name", namespace: "platform", account: "tuner", text: func(*testing.T) string {
			return helmIn("platform", "fullnameOverride=tuner")
		}},
		{name: "chart, another account", namespace: "platform", account: "agents", text: func(*testing.T) string {
			return helmIn("platform", "serviceAccount.name=agents")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.text(t)
			if strings.Contains(text, "\nkind: Namespace\n") {
				t.Error("it has a Namespace, which would be deleted with it")
			}
			if strings.Contains(text, "namespace: nodetune\n") {
				t.Error("something stays in the namespace nodetune")
			}
			makeNamespace(t, tt.namespace)
			apply(t, text)
			makeNode(t, "own")
			makeNode(t, "other")
			thief := clientWith(t, tokenOf(t, tt.namespace, tt.account, "own"))
			waitForPolicy(t, thief)
			refused(t, "another node's Ready", try(thief.CoreV1().Nodes().Patch(t.Context(), "other", types.StrategicMergePatchType, []byte(readyPatch), metav1.PatchOptions{}, "status")), "only update its own node, which is <own>")
			refused(t, "its own node's Ready", try(thief.CoreV1().Nodes().Patch(t.Context(), "own", types.StrategicMergePatchType, []byte(readyPatch), metav1.PatchOptions{}, "status")), "not its own")
			if err := try(thief.CoreV1().Nodes().Patch(t.Context(), "own", types.StrategicMergePatchType, []byte(fmt.Sprintf(ownPatch, "True")), metav1.PatchOptions{}, "status")); err != nil {
				t.Errorf("the agent cannot write its own condition: %v", err)
			}
			events(t, thief, tt.namespace, tt.pods)
		})
	}
}

// Any other account and the kubelets are not held to the policies.
func TestOthersAreNotHeld(t *testing.T) {
	apply(t, kustomize(t, "default"))
	makeNode(t, "own")
	makeNode(t, "other")
	waitForPolicy(t, clientWith(t, tokenOn(t, "nodetune", "own")))
	if _, err := api.Client.CoreV1().Nodes().Patch(t.Context(), "other", types.StrategicMergePatchType, []byte(readyPatch), metav1.PatchOptions{}, "status"); err != nil {
		t.Errorf("an administrator cannot write a node: %v", err)
	}
	other := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "not-nodetune", Namespace: "nodetune"}}
	if _, err := api.Client.CoreV1().ServiceAccounts("nodetune").Create(t.Context(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	api.MustKubectl(t, "", "create", "clusterrolebinding", "not-nodetune", "--clusterrole=nodetune", "--serviceaccount=nodetune:not-nodetune")
	t.Cleanup(func() {
		_, _ = api.Kubectl(context.Background(), "delete", "clusterrolebinding/not-nodetune")
		_, _ = api.Kubectl(context.Background(), "-n", "nodetune", "delete", "serviceaccount/not-nodetune")
	})
	client := clientWith(t, tokenOf(t, "nodetune", "not-nodetune", ""))
	cluster.Eventually(t, "another account with the same rights writes any node", func(ctx context.Context) error {
		_, err := client.CoreV1().Nodes().Patch(ctx, "other", types.StrategicMergePatchType, []byte(readyPatch), metav1.PatchOptions{}, "status")
		return err
	})
}

// events tries what the token of the node own may do with Events.
func events(t *testing.T, thief kubernetes.Interface, namespace string, pods bool) {
	t.Helper()
	create := func(in string, change func(*corev1.Event)) error {
		e := event(in)
		e.ReportingController, e.ReportingInstance = "nodetune", "own"
		e.Source = corev1.EventSource{Component: "nodetune", Host: "own"}
		if change != nil {
			change(e)
		}
		_, err := thief.CoreV1().Events(in).Create(t.Context(), e, metav1.CreateOptions{})
		return err
	}
	aboutPod := func(e *corev1.Event) {
		e.InvolvedObject = corev1.ObjectReference{Kind: "Pod", Namespace: e.Namespace, Name: "web"}
	}
	// The API server may know the policy of the manifests before these for a moment.
	cluster.Eventually(t, "the policy of Events is in force", func(context.Context) error {
		if err := create("default", func(e *corev1.Event) { e.InvolvedObject.Name = "other" }); err == nil {
			return errors.New("an Event of another node was taken")
		}
		if err := create(namespace, aboutPod); pods != (err == nil) {
			return errors.Join(fmt.Errorf("an Event about a pod, which is to be taken: %t", pods), err)
		}
		return create("default", nil)
	})
	for what, err := range map[string]error{
		"of another node":       create("default", func(e *corev1.Event) { e.InvolvedObject.Name = "other" }),
		"of a node elsewhere":   create("kube-system", nil),
		"of a Deployment":       create("default", func(e *corev1.Event) { e.InvolvedObject.Kind = "Deployment" }),
		"as the kubelet":        create("default", func(e *corev1.Event) { e.Source.Component = "kubelet" }),
		"reported by a kubelet": create("default", func(e *corev1.Event) { e.ReportingController = "kubelet" }),
		"from another host":     create("default", func(e *corev1.Event) { e.ReportingInstance = "other" }),
		"with a long message":   create("default", func(e *corev1.Event) { e.Message = strings.Repeat("x", 1025) }),
	} {
		refused(t, "an Event "+what, err, "forbidden")
	}

	theirs := event("default")
	theirs.Source.Component = "kubelet"
	made, err := api.Client.CoreV1().Events("default").Create(t.Context(), theirs, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	patch := func(name, text string) error {
		_, err := thief.CoreV1().Events("default").Patch(t.Context(), name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
	refused(t, "another program's Event", patch(made.Name, `{"message":"all is well"}`), "forbidden")
	refused(t, "another program's Event, counted", patch(made.Name, `{"count":9}`), "forbidden")
	ours := event("default")
	ours.Name, ours.GenerateName, ours.ReportingController, ours.ReportingInstance = "ours-"+made.Name, "", "nodetune", "own"
	if _, err := thief.CoreV1().Events("default").Create(t.Context(), ours, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := patch(ours.Name, `{"count":2}`); err != nil {
		t.Errorf("the agent cannot count its own Event: %v", err)
	}
	refused(t, "its own Event, with other words", patch(ours.Name, `{"message":"all is well"}`), "forbidden")
}
