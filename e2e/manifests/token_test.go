package manifests_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/nodetune/nodetune/e2e/cluster"
)

const (
	ownPatch   = `{"status":{"conditions":[{"type":"InotifyPressure","status":"%s","reason":"InstancesNearLimit"}]}}`
	longPatch  = `{"status":{"conditions":[{"type":"InotifyPressure","status":"True","message":"%s"}]}}`
	readyPatch = `{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Stolen"}]}}`
)

// A stolen token of an agent gives its own node's own conditions, and no more.
func TestStolenToken(t *testing.T) {
	apply(t, kustomize(t, "default"))
	makeNode(t, "own")
	makeNode(t, "other")
	makeNode(t, "unbound")
	thief := clientWith(t, tokenOn(t, "nodetune", "own"))
	waitForPolicy(t, thief)

	ctx := t.Context()
	node := func(kind types.PatchType, name, patch string, sub ...string) error {
		_, err := thief.CoreV1().Nodes().Patch(ctx, name, kind, []byte(patch), metav1.PatchOptions{}, sub...)
		return err
	}
	const strategic, merge = types.StrategicMergePatchType, types.MergePatchType
	if err := node(strategic, "own", fmt.Sprintf(ownPatch, "False"), "status"); err != nil {
		t.Errorf("the agent cannot write its own condition: %v", err)
	}
	if err := node(strategic, "own", `{"status":{"conditions":[{"$patch":"delete","type":"InotifyPressure"}]}}`, "status"); err != nil {
		t.Errorf("the agent cannot remove its own condition: %v", err)
	}
	for _, c := range []struct {
		what string
		err  error
		says string // part of the refusal
	}{
		{"another node's condition", node(strategic, "other", fmt.Sprintf(ownPatch, "True"), "status"), "only update its own node, which is <own>"},
		{"its node's Ready", node(strategic, "own", readyPatch, "status"), "not its own"},
		{"all its node's conditions", node(merge, "own", `{"status":{"conditions":[]}}`, "status"), "not its own"},
		{"its node's capacity", node(strategic, "own", `{"status":{"capacity":{"cpu":"1000"}}}`, "status"), "beyond its conditions"},
		{"its node's addresses", node(merge, "own", `{"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.66"}]}}`, "status"), "beyond its conditions"},
		{"its node's labels through the status", node(merge, "own", `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":""}}}`, "status"), "metadata"},
		{"its node's annotations through the status", node(merge, "own", `{"metadata":{"annotations":{"a":"b"}}}`, "status"), "metadata"},
		{"its node's runtime handlers", node(merge, "own", `{"status":{"runtimeHandlers":[{"name":"stolen","features":{"userNamespaces":true}}]}}`, "status"), "beyond its conditions"},
		{"its node's features", node(merge, "own", `{"status":{"features":{"supplementalGroupsPolicy":true}}}`, "status"), "beyond its conditions"},
		{"its node's images", node(merge, "own", `{"status":{"images":[{"names":["a"]}]}}`, "status"), "beyond its conditions"},
		{"a long message", node(strategic, "own", fmt.Sprintf(longPatch, strings.Repeat("x", 1025)), "status"), "1024"},
		{"a message of 1 MiB", node(strategic, "own", fmt.Sprintf(longPatch, strings.Repeat("x", 1<<20)), "status"), "1024"},
		{"its own condition many times", node(merge, "own", `{"status":{"conditions":[{"type":"Ready","status":"True"},{"type":"InotifyPressure","status":"True"},{"type":"InotifyPressure","status":"False"}]}}`, "status"), "once"},
		{"its node's taints", node(merge, "own", `{"spec":{"taints":[]}}`), "forbidden"},
		{"its node's labels", node(merge, "own", `{"metadata":{"labels":{"a":"b"}}}`), "forbidden"},
		{"delete a node", thief.CoreV1().Nodes().Delete(ctx, "other", metav1.DeleteOptions{}), "forbidden"},
		{"get a secret", try(thief.CoreV1().Secrets("nodetune").Get(ctx, "any", metav1.GetOptions{})), "forbidden"},
		{"list secrets", try(thief.CoreV1().Secrets("").List(ctx, metav1.ListOptions{})), "forbidden"},
		{"list pods", try(thief.CoreV1().Pods("").List(ctx, metav1.ListOptions{})), "forbidden"},
		{"delete a pod", thief.CoreV1().Pods("nodetune").Delete(ctx, "agent-own", metav1.DeleteOptions{}), "forbidden"},
		{"change a pod", try(thief.CoreV1().Pods("nodetune").Patch(ctx, "agent-own", merge, []byte(`{"metadata":{"labels":{"a":"b"}}}`), metav1.PatchOptions{})), "forbidden"},
		{"write its own configuration", try(thief.CoreV1().ConfigMaps("nodetune").Patch(ctx, "nodetune", merge, []byte(`{"data":{}}`), metav1.PatchOptions{})), "forbidden"},
		{"an Event in kube-system", try(thief.CoreV1().Events("kube-system").Create(ctx, event("kube-system"), metav1.CreateOptions{})), "forbidden"},
		{"another token", try(thief.CoreV1().ServiceAccounts("nodetune").CreateToken(ctx, "nodetune", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})), "forbidden"},
	} {
		refused(t, c.what, c.err, c.says)
	}
	if err := try(thief.CoreV1().Events("default").Create(ctx, event("default"), metav1.CreateOptions{})); err != nil {
		t.Errorf("the agent cannot write an Event of its Node: %v", err)
	}

	if err := node(strategic, "own", fmt.Sprintf(longPatch, strings.Repeat("x", 1024)), "status"); err != nil {
		t.Errorf("the agent cannot write a message of 1024 characters: %v", err)
	}

	// The API server ignores managedFields in a request for the status.
	was := managers(t, "own")
	if err := node(merge, "own", `{"metadata":{"managedFields":[{}]}}`, "status"); err != nil {
		t.Errorf("managed fields in a request for the status: %v", err)
	}
	if now := managers(t, "own"); now != was || !strings.Contains(was, "kubelet/") {
		t.Errorf("the managers of the node were %q and are %q", was, now)
	}

	// A token that is bound to no node is valid for none.
	unbound := clientWith(t, tokenOn(t, "nodetune", ""))
	refused(t, "a condition without a node in the token",
		try(unbound.CoreV1().Nodes().Patch(ctx, "own", strategic, []byte(fmt.Sprintf(ownPatch, "True")), metav1.PatchOptions{}, "status")), "which is <>")

	// RBAC alone lets it write any node: it is the policy that holds it.
	api.MustKubectl(t, "", "delete", "validatingadmissionpolicybinding", "nodetune-own-node-only")
	cluster.Eventually(t, "without the policy another node can be written", func(ctx context.Context) error {
		_, err := thief.CoreV1().Nodes().Patch(ctx, "other", strategic, []byte(readyPatch), metav1.PatchOptions{}, "status")
		return err
	})
}

// With the startup taint the agent may patch its Node, but only remove that.
func TestStolenTokenWithStartupTaint(t *testing.T) {
	apply(t, kustomize(t, "startup-taint"))
	gate := corev1.Taint{Key: "nodetune.io/not-ready", Effect: corev1.TaintEffectNoSchedule}
	other := corev1.Taint{Key: "other", Effect: corev1.TaintEffectNoSchedule}
	makeNode(t, "own", other, gate)
	makeNode(t, "other", other, gate)
	thief := clientWith(t, tokenOn(t, "nodetune", "own"))
	waitForPolicy(t, thief)
	node := func(name, patch string) error {
		_, err := thief.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	const keepOther = `{"spec":{"taints":[{"key":"other","effect":"NoSchedule"}]}}`
	for what, err := range map[string]error{
		"another node's taint":    node("other", keepOther),
		"all its node's taints":   node("own", `{"spec":{"taints":[]}}`),
		"one more taint":          node("own", `{"spec":{"taints":[{"key":"other","effect":"NoSchedule"},{"key":"more","effect":"NoExecute"}]}}`),
		"cordon its node":         node("own", `{"spec":{"unschedulable":true}}`),
		"its node's labels":       node("own", `{"metadata":{"labels":{"a":"b"}}}`),
		"its node's provider":     node("own", `{"spec":{"providerID":"stolen://1"}}`),
		"its node's finalizers":   node("own", `{"metadata":{"finalizers":["example.com/a"]}}`),
		"its managed fields":      node("own", `{"metadata":{"managedFields":[{}]}}`),
		"them beside the taint":   node("own", strings.Replace(keepOther, `{"spec"`, `{"metadata":{"managedFields":[{}]},"spec"`, 1)),
		"labels beside the taint": node("own", strings.Replace(keepOther, `{"spec"`, `{"metadata":{"labels":{"a":"b"}},"spec"`, 1)),
	} {
		refused(t, what, err, "nodetune may")
	}
	if err := node("own", keepOther); err != nil {
		t.Errorf("the agent cannot remove its startup taint: %v", err)
	}
}

// managers returns which program manages fields of the node, and of which subresource.
func managers(t *testing.T, name string) string {
	t.Helper()
	n, err := api.Client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range n.ManagedFields {
		all = append(all, m.Manager+"/"+m.Subresource)
	}
	return strings.Join(all, " ")
}

// try drops what a call returned beside its error.
func try[T any](_ T, err error) error { return err }

func refused(t *testing.T, what string, err error, says string) {
	t.Helper()
	if !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want a refusal that says %q", what, err, says)
	}
}

func makeNode(t *testing.T, name string, taints ...corev1.Taint) {
	t.Helper()
	nodes := api.Client.CoreV1().Nodes()
	n, err := nodes.Create(t.Context(), &corev1.Node{
		// An object that is created without a field never gets managedFields.
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}},
		Spec:       corev1.NodeSpec{Taints: taints},
	}, metav1.CreateOptions{FieldManager: "kubelet"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nodes.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	n.Spec.Taints = taints // admission adds not-ready
	if n, err = nodes.Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if _, err := nodes.UpdateStatus(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// tokenOn returns a token as the kubelet of node gets it for an agent's pod;
// one that is bound to no pod where node is "".
func tokenOn(t *testing.T, namespace, node string) string {
	t.Helper()
	return tokenOf(t, namespace, "nodetune", node)
}

// tokenOf is the same for another account.
func tokenOf(t *testing.T, namespace, account, node string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{}
	if node != "" {
		name := "agent-" + node
		pod, err := api.Client.CoreV1().Pods(namespace).Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.PodSpec{
				NodeName: node, ServiceAccountName: account,
				Containers: []corev1.Container{{Name: "nodetune", Image: "none"}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		now := int64(0)
		t.Cleanup(func() {
			_ = api.Client.CoreV1().Pods(namespace).Delete(context.Background(), name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		})
		request.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: name, UID: pod.UID}
	}
	token, err := api.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

func clientWith(t *testing.T, token string) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(api.Config)
	config.BearerToken = token
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// waitForPolicy waits until the API server has compiled the policy, and RBAC
// has come through: until then it is a race whether a token is refused.
func waitForPolicy(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	cluster.Eventually(t, "the policy is in force", func(ctx context.Context) error {
		_, err := client.CoreV1().Nodes().Patch(ctx, "other", types.StrategicMergePatchType, []byte(fmt.Sprintf(ownPatch, "Unknown")), metav1.PatchOptions{}, "status")
		if err == nil {
			return errors.New("another node was written")
		}
		if !strings.Contains(err.Error(), "only update its own node") {
			return fmt.Errorf("refused otherwise: %w", err)
		}
		return nil
	})
}

func event(namespace string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: "stolen-", Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{Kind: "Node", Name: "own", Namespace: namespaceOf(namespace)},
		Reason:         "Stolen", Message: "stolen", Type: corev1.EventTypeNormal,
	}
}

// namespaceOf: the Event of a Node in "default" names no namespace.
func namespaceOf(namespace string) string {
	if namespace == "default" {
		return ""
	}
	return namespace
}
