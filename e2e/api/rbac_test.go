package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/reporter/kube"
)

const (
	overlays     = "../../deploy/overlays"
	agentAccount = "system:serviceaccount:nodetune:nodetune"
)

// right is what a role grants, or a request uses. Namespace "" is the cluster.
type right struct{ namespace, resource, verb string }

// The audit log of an API server says what the agent asks for: exactly what the
// roles grant, refused nothing.
func TestRightsAreThoseUsed(t *testing.T) {
	makeNamespace(t, "audited")
	t.Cleanup(func() {
		_, _ = server.Kubectl(context.Background(), "delete", "--wait=false", "-k", filepath.Join(overlays, "pod-demands"))
	})
	makeNode(t, "audit-other") // an agent proves its policy on another node
	for _, overlay := range []string{"default", "startup-taint", "pod-demands"} {
		t.Run(overlay, func(t *testing.T) {
			text := kustomize(t, overlay)
			server.MustKubectl(t, text, "apply", "-f", "-")
			rules := granted(t, text)
			effective(t, rules)
			n := makeNode(t, "audit-"+overlay)
			server.MustKubectl(t, "", "taint", "node", n.Name, kube.StartupTaint+"=:NoSchedule")
			kubeconfig := agentKubeconfig(t, n.Name)
			waitForPolicy(t, kubeconfig, "audit-other")
			before := requests(t)

			file := filepath.Join(t.TempDir(), "nodetune.yaml")
			good := configurationOf(t, text)
			write(t, file, good)
			cmd := agent(t, n.Name, kernel(t), "--kubeconfig", kubeconfig, "--config", file)
			wait(t, "it runs", func() bool { return len(requests(t)) > len(before) }) // a SIGHUP ends it before
			// An Event is counted on, by a patch, when it happens again.
			again := func(wrong bool) {
				var pod map[string]string
				text := good
				if wrong {
					pod, text = map[string]string{kube.FloorAnnotation: "fs.inotify.max_user_instances=999999"}, "apiVersion: no\n"
				}
				annotate(t, n.Name, overlay, pod)
				write(t, file, text)
				if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
					t.Fatal(err)
				}
				pause()
			}
			wrong := true
			cluster.Eventually(t, "every right is used", func(context.Context) error {
				again(wrong)
				wrong = !wrong
				var unused []right
				used, _ := used(t, requests(t)[len(before):], rules, n.Name)
				for r := range rules {
					if !used[r] {
						unused = append(unused, r)
					}
				}
				if len(unused) > 0 {
					return fmt.Errorf("granted and not used: %+v", unused)
				}
				return nil
			})
			cluster.Eventually(t, "the agent has proved the policy of its token", func(context.Context) error {
				if _, proofs := used(t, requests(t)[len(before):], rules, n.Name); proofs == 0 {
					return errors.New("no dry-run patch of another node's status")
				}
				return nil
			})
		})
	}
}

// The other overlays grant what base does, but minimal, which grants nothing.
func TestRightsOfOverlays(t *testing.T) {
	entries, err := os.ReadDir(overlays)
	if err != nil {
		t.Fatal(err)
	}
	base := granted(t, kustomize(t, "default"))
	if len(base) != 5 {
		t.Errorf("base grants %+v", base)
	}
	for _, e := range entries {
		want := base
		switch e.Name() {
		case "startup-taint", "pod-demands":
			continue
		case "report-authorised":
			want = maps.Clone(base)
			want[right{"", "tokenreviews", "create"}] = true
			want[right{"", "subjectaccessreviews", "create"}] = true
		case "minimal":
			want = map[right]bool{}
		}
		if got := granted(t, kustomize(t, e.Name())); !maps.Equal(got, want) {
			t.Errorf("%s grants %+v, want %+v", e.Name(), got, want)
		}
	}
}

func kustomize(t *testing.T, overlay string) string {
	t.Helper()
	return server.MustKubectl(t, "", "kustomize", filepath.Join(overlays, overlay))
}

// granted returns the rights in manifests.
func granted(t *testing.T, text string) map[right]bool {
	t.Helper()
	all := map[right]bool{}
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var role rbacv1.Role // a ClusterRole has the same fields, and no namespace
		if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
			t.Fatal(err)
		}
		if role.Kind != "Role" && role.Kind != "ClusterRole" {
			continue
		}
		for _, rule := range role.Rules {
			if len(rule.NonResourceURLs) > 0 {
				continue // what its readers are granted
			}
			if !slices.Contains([]string{"[]", "[authentication.k8s.io]", "[authorization.k8s.io]"}, fmt.Sprint(rule.APIGroups)) {
				t.Fatalf("%s grants %+v", role.Name, rule)
			}
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all[right{role.Namespace, resource, verb}] = true
				}
			}
		}
	}
	return all
}

// effective waits until the API server grants the rights: it learns of roles by
// a watch of its own.
func effective(t *testing.T, rules map[right]bool) {
	t.Helper()
	cluster.Eventually(t, "the rights are in force", func(ctx context.Context) error {
		for r := range rules {
			resource, sub, _ := strings.Cut(r.resource, "/")
			review, err := server.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
				Spec: authorizationv1.SubjectAccessReviewSpec{User: agentAccount, ResourceAttributes: &authorizationv1.ResourceAttributes{
					Namespace: r.namespace, Verb: r.verb, Resource: resource, Subresource: sub,
				}},
			}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			if !review.Status.Allowed {
				return fmt.Errorf("%+v is not", r)
			}
		}
		return nil
	})
}

func requests(t *testing.T) []cluster.Request {
	t.Helper()
	all, err := server.Requests()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// used returns which of rules the requests of the agent of node have used, and how
// many of them prove its policy. It fails t where another request was refused.
func used(t *testing.T, all []cluster.Request, rules map[right]bool, node string) (used map[right]bool, proofs int) {
	t.Helper()
	used = map[right]bool{}
	for _, r := range all {
		if provesPolicy(r, node) {
			if r.User != agentAccount || r.Code != http.StatusUnprocessableEntity && r.Code != http.StatusForbidden {
				t.Fatalf("the API server did not refuse the proof: %+v", r)
			}
			proofs++
			continue
		}
		if r.User != agentAccount || r.Refused {
			t.Fatalf("refused, or of another account: %+v", r)
		}
		is := right{r.Namespace, r.Resource, r.Verb}
		if !rules[is] {
			is.namespace = ""
		}
		if !rules[is] {
			t.Fatalf("%+v is granted by nothing in the manifests", r)
		}
		used[is] = true
	}
	return used, proofs
}

// provesPolicy reports whether r is the patch that the agent of node tries at its
// start, and that the API server must refuse: a dry run, of the status of another node.
func provesPolicy(r cluster.Request, node string) bool {
	return r.DryRun && r.Verb == "patch" && r.Resource == "nodes/status" && r.Name != "" && r.Name != node
}

func TestProvesPolicy(t *testing.T) {
	proof := cluster.Request{Verb: "patch", Resource: "nodes/status", Name: "b", DryRun: true, Refused: true}
	for _, tt := range []struct {
		name   string
		change func(*cluster.Request)
		want   bool
	}{
		{"the proof", func(*cluster.Request) {}, true},
		{"stored", func(r *cluster.Request) { r.DryRun = false }, false},
		{"its own node", func(r *cluster.Request) { r.Name = "a" }, false},
		{"no name", func(r *cluster.Request) { r.Name = "" }, false},
		{"the node, not its status", func(r *cluster.Request) { r.Resource = "nodes" }, false},
		{"another verb", func(r *cluster.Request) { r.Verb = "update" }, false},
	} {
		r := proof
		tt.change(&r)
		if got := provesPolicy(r, "a"); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// configurationOf is the overlay's, with less patience.
func configurationOf(t *testing.T, text string) string {
	t.Helper()
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var c corev1.ConfigMap
		if err := yaml.Unmarshal([]byte(doc), &c); err != nil || c.Kind != "ConfigMap" {
			continue
		}
		config := c.Data["config.yaml"]
		for name, text := range c.Data { // at most one component's, of other fields
			if name != "config.yaml" {
				_, fields, _ := strings.Cut(text, "kind: Configuration\n")
				config += fields
			}
		}
		if !strings.Contains(config, "reporter:\n") {
			config += "reporter:\n"
		}
		return strings.Replace(config, "reporter:\n", "reporter:\n  conditions: {debounce: 0s, jitter: 0s}\n", 1)
	}
	t.Fatal("no ConfigMap in the manifests")
	return ""
}

// agentKubeconfig holds a token as the kubelet of node gets it for an agent.
func agentKubeconfig(t *testing.T, node string) string {
	t.Helper()
	now := int64(0)
	pod, err := server.Client.CoreV1().Pods("nodetune").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "agent-" + node},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: "nodetune", TerminationGracePeriodSeconds: &now,
			Containers: []corev1.Container{{Name: "nodetune", Image: "none"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	token, err := server.Client.CoreV1().ServiceAccounts("nodetune").CreateToken(t.Context(), "nodetune", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["e2e"] = &clientcmdapi.Cluster{Server: server.Config.Host, CertificateAuthority: server.Config.CAFile}
	c.AuthInfos["agent"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	c.Contexts["e2e"] = &clientcmdapi.Context{Cluster: "e2e", AuthInfo: "agent"}
	c.CurrentContext = "e2e"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// waitForPolicy waits until the API server enforces the policy of an agent's token: it
// compiles one some time after it was applied.
func waitForPolicy(t *testing.T, kubeconfig, other string) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	patch := []byte(`{"status":{"conditions":[{"type":"InotifyPressure","status":"Unknown"}]}}`)
	cluster.Eventually(t, "the policy is in force", func(ctx context.Context) error {
		_, err := client.CoreV1().Nodes().Patch(ctx, other, types.StrategicMergePatchType, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}, "status")
		if err == nil {
			return errors.New("another node could be written")
		}
		if !strings.Contains(err.Error(), "only update its own node") {
			return fmt.Errorf("refused otherwise: %w", err)
		}
		return nil
	})
}

// annotate gives the pod of t in the namespace audited these annotations.
func annotate(t *testing.T, node, name string, annotations map[string]string) {
	t.Helper()
	pods := server.Client.CoreV1().Pods("audited")
	pod, err := pods.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		makePod(t, node, "audited", name, annotations)
		return
	}
	pod.Annotations = annotations
	if _, err := pods.Update(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
