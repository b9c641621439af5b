// Package api asks a real API server about every rule that nodetune keeps when
// it speaks for a Node.
package api

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/kube"
)

var (
	server *cluster.API
	dir    string
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var err error
	if dir, err = os.MkdirTemp("", "nodetune-api-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if server, err = cluster.StartAPI(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Stop()
	return m.Run()
}

// saKey signs the tokens of service accounts.
func saKey() string { return filepath.Join(dir, "pki", "sa.key") }

// makeNode creates the Node of t with a kubelet's conditions.
func makeNode(t *testing.T, name string) *corev1.Node {
	t.Helper()
	nodes := server.Client.CoreV1().Nodes()
	n, err := nodes.Create(t.Context(), &corev1.Node{
		// An object that is created without a field never gets managedFields.
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}},
	}, metav1.CreateOptions{FieldManager: "kubelet"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nodes.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	patch(t, name, "kubelet", `{"status":{"conditions":[
		{"type":"Ready","status":"True","reason":"KubeletReady","message":"0"},
		{"type":"DiskPressure","status":"False","reason":"KubeletHasNoDiskPressure"}]}}`)
	return n
}

// patch is a strategic merge patch of a Node's status by manager.
func patch(t *testing.T, name, manager, body string) {
	t.Helper()
	_, err := server.Client.CoreV1().Nodes().Patch(context.Background(), name, types.StrategicMergePatchType, []byte(body),
		metav1.PatchOptions{FieldManager: manager}, "status")
	if err != nil {
		t.Fatal(err)
	}
}

func conditions(t *testing.T, name string) map[corev1.NodeConditionType]corev1.NodeCondition {
	t.Helper()
	n, err := server.Client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[corev1.NodeConditionType]corev1.NodeCondition)
	for _, c := range n.Status.Conditions {
		all[c.Type] = c
	}
	return all
}

// prompt is a policy that waits for nothing.
func prompt() condition.Policy {
	p := condition.DefaultPolicy()
	p.EnterPasses, p.LeavePasses = 1, 1
	p.Debounce, p.Jitter, p.MessageEvery = 0, 0, 0
	return p
}

// speaker is an agent's voice; patches counts its requests to write.
type speaker struct {
	*kube.Publisher
	patches atomic.Int64
	stop    func()
}

// speak starts one. config nil is an administrator's.
func speak(t *testing.T, name string, config *rest.Config, p condition.Policy, hooks kube.Hooks) *speaker {
	t.Helper()
	if config == nil {
		config = server.Config
	}
	config = rest.CopyConfig(config)
	s := &speaker{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch {
				s.patches.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	client, err := kube.NewClient(config)
	if err != nil {
		t.Fatal(err)
	}
	s.Publisher = kube.NewPublisher(client.Nodes(), name, p, hooks)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(ended)
	}()
	s.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(s.stop)
	return s
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// say gives one verdict on each type.
func (s *speaker) say(level condition.Severity, reason, message string, all ...corev1.NodeConditionType) {
	var seen []condition.Evaluation
	for _, t := range all {
		seen = append(seen, condition.Evaluation{Type: t, Severity: level, At: time.Now(), Reason: reason, Message: message})
	}
	s.Update(seen, time.Now())
}

// wait waits until ok, and names what it waits for.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	cluster.Eventually(t, what, func(context.Context) error {
		if !ok() {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}

// pause lets a pass that was asked for end, and shows that nothing happens.
func pause() { time.Sleep(time.Second) }
