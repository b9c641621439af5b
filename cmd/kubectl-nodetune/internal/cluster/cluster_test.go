package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/exec"
)

const report = `{"apiVersion":"nodetune.io/v1alpha1","kind":"Report","errors":{"disk":"x"}}`

func client(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := New(&rest.Config{Host: server.URL, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var agent = Agent{Pod: types.NamespacedName{Namespace: "logging", Name: "nodetune-a"}, Node: "w1", Container: "nodetune", Scheme: "http", Port: "9409"}

func failure(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, text, code) }
}

func apiFailure(code int, reason metav1.StatusReason) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(code), Reason: reason, Message: "refused"})
	}
}

func TestReport(t *testing.T) {
	forbidden := errors.New("unable to upgrade connection: refused")
	for _, tt := range []struct {
		name   string
		proxy  http.HandlerFunc
		prints string
		exec   error
		way    Way
		closed string   // part of why the proxy did not serve
		fails  []string // parts of the error
		mayGet bool
	}{
		{"open", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, report) }, "", nil, ByProxy, "", nil, false},
		{"closed, by exec", failure(404, "closed"), report, nil, ByExec, "set web.report: open (chart: report=open)", nil, false},
		{"exec ends with 1, as check does on trouble", failure(404, "closed"), report, exec.CodeExitError{Code: 1, Err: errors.New("1")}, ByExec, "web.report", nil, false},
		{"exec ends with 3", failure(404, "closed"), report, exec.CodeExitError{Code: 3, Err: errors.New("3")}, ByExec, "web.report", nil, false},
		{"authorised", failure(401, "token"), report, nil, ByExec, "passes none on", nil, false},
		{"no right to proxy", apiFailure(403, metav1.StatusReasonForbidden), report, nil, ByExec, "get pods/proxy in namespace logging", nil, false},
		{"unreachable", apiFailure(503, metav1.StatusReasonServiceUnavailable), report, nil, ByExec, "cannot reach port 9409", nil, false},
		{"a page of a mesh", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, report, nil, ByExec, "not a report", nil, false},
		{"closed, no right to exec", failure(404, "closed"), "", forbidden, "", "", []string{"set web.report: open", "create and get pods/exec in namespace logging"}, false},
		{"no right to either", apiFailure(403, metav1.StatusReasonForbidden), "", forbidden, "", "", []string{"get pods/proxy", "pods/exec"}, false},
		{"exec ends with 2", failure(404, "closed"), "", exec.CodeExitError{Code: 2, Err: errors.New("usage")}, "", "", []string{"usage"}, false},
		{"exec prints something else", failure(404, "closed"), "hello", nil, "", "", []string{"not a report"}, false},
		{"exec prints nothing and ends with 1", failure(404, "closed"), "", exec.CodeExitError{Code: 1, Err: errors.New("ended with 1")}, "", "", []string{"ended with 1"}, false},
		{"a right to get alone", failure(404, "closed"), "", forbidden, "", "", []string{"you have no right to create pods/exec in namespace logging"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := ""
			c := client(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" {
					var review authorizationv1.SelfSubjectAccessReview
					if err := json.NewDecoder(r.Body).Decode(&review); err != nil || review.Spec.ResourceAttributes.Namespace != "logging" || review.Spec.ResourceAttributes.Subresource != "exec" {
						t.Errorf("%v: asked for %+v", err, review.Spec)
					}
					review.Status.Allowed = !errors.Is(tt.exec, forbidden) || tt.mayGet && review.Spec.ResourceAttributes.Verb == "get"
					_ = json.NewEncoder(w).Encode(review)
					return
				}
				path = r.URL.Path
				tt.proxy(w, r)
			})
			c.exec = func(_ context.Context, pod types.NamespacedName, container string, command []string, out io.Writer) error {
				if pod != agent.Pod || container != "nodetune" || strings.Join(command, " ") != "/nodetune check -o json" {
					t.Errorf("exec of %q in %s %s", command, pod, container)
				}
				_, _ = io.WriteString(out, tt.prints)
				return tt.exec
			}
			a, err := c.Report(t.Context(), agent)
			if path != "/api/v1/namespaces/logging/pods/http:nodetune-a:9409/proxy/report" {
				t.Errorf("asked %s", path)
			}
			if tt.fails != nil {
				for _, part := range tt.fails {
					if err == nil || !strings.Contains(err.Error(), part) {
						t.Errorf("error %v, want %q in it", err, part)
					}
				}
				return
			}
			if err != nil || a.Way != tt.way || !strings.Contains(a.Closed, tt.closed) || string(a.Raw) != report || a.Report.Errors["disk"] != "x" {
				t.Errorf("got %+v, %v", a, err)
			}
		})
	}
}

// An agent that does not answer holds up no other, and is not asked in a second way.
func TestEachHasATimeout(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "hangs") {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			return
		}
		_, _ = io.WriteString(w, report)
	})
	c.exec = func(context.Context, types.NamespacedName, string, []string, io.Writer) error {
		t.Error("asked by exec")
		return nil
	}
	agents := []Agent{agent, agent}
	agents[1].Pod.Name = "hangs"
	errs := make([]error, 2)
	var steps atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	Each(ctx, agents[:1], time.Hour, func(int, int) { steps.Add(1) }, func(ctx context.Context, i int) { _, errs[i] = c.Report(ctx, agents[i]) })
	Each(ctx, agents[1:], time.Millisecond, func(int, int) { steps.Add(1) }, func(ctx context.Context, _ int) { _, errs[1] = c.Report(ctx, agents[1]) })
	if errs[0] != nil || errs[1] == nil || !strings.Contains(errs[1].Error(), "did not answer in time") || steps.Load() != 2 {
		t.Errorf("%v, %d steps", errs, steps.Load())
	}
}

func TestExecOutputIsBounded(t *testing.T) {
	c := client(t, failure(404, "closed"))
	c.exec = func(_ context.Context, _ types.NamespacedName, _ string, _ []string, out io.Writer) error {
		for {
			if _, err := out.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return err
			}
		}
	}
	if _, err := c.Report(t.Context(), agent); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestAgents(t *testing.T) {
	pod := func(name, node, owner string, phase corev1.PodPhase, deleted bool) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, OwnerReferences: []metav1.OwnerReference{{Kind: owner}}}}
		p.Spec.NodeName, p.Status.Phase = node, phase
		p.Spec.Containers = []corev1.Container{{Name: "sidecar"}, {Name: "nodetune"}}
		if deleted {
			now := metav1.Now()
			p.DeletionTimestamp = &now
		}
		return p
	}
	pages := [][]corev1.Pod{
		{pod("old", "w1", "DaemonSet", corev1.PodRunning, true), pod("cleanup", "w1", "Job", corev1.PodRunning, false)},
		{pod("waits", "w2", "DaemonSet", corev1.PodPending, false), pod("new", "w1", "DaemonSet", corev1.PodRunning, false)},
	}
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/pods" || r.URL.Query().Get("labelSelector") != "a=b" {
			t.Errorf("asked %s", r.URL)
		}
		list := corev1.PodList{Items: pages[0]}
		if list.Continue = "next"; r.URL.Query().Get("continue") == "next" {
			list.Items, list.Continue = pages[1], ""
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	all, err := c.Agents(t.Context(), "", "a=b")
	if err != nil || len(all) != 3 {
		t.Fatalf("%v: %+v", err, all)
	}
	if a, ok := On(all, "w1"); !ok || a.Pod.Name != "new" || a.Container != "nodetune" || !a.Running() {
		t.Errorf("on w1: %+v", a)
	}
	if a, ok := On(all, "w2"); !ok || a.Running() {
		t.Errorf("on w2: %+v", a)
	}
	if _, ok := On(all, "w3"); ok {
		t.Error("an agent on a node without one")
	}
}

func TestParseBuild(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Build
	}{
		{`nodetune_build_info{goversion="go1.26",revision="abc",version="v1.2.3"} 1` + "\n" + `nodetune_config_last_reload_successful 1`, Build{Version: "v1.2.3", Revision: "abc"}},
		{`nodetune_build_info{version="v1"} 1` + "\n" + `nodetune_config_last_reload_successful 0`, Build{Version: "v1", ConfigRefused: true}},
		{"# nothing", Build{Error: "its metrics have no nodetune_build_info"}},
		{strings.Repeat("x", 2<<20), Build{Error: "bufio.Scanner: token too long"}},
	} {
		if got := parseBuild(strings.NewReader(tt.text)); got != tt.want {
			t.Errorf("%.40s: got %+v, want %+v", tt.text, got, tt.want)
		}
	}
}

func TestForbiddenIsNamed(t *testing.T) {
	c := client(t, apiFailure(403, metav1.StatusReasonForbidden))
	for name, ask := range map[string]func() error{
		"nodes": func() error { _, err := c.Nodes(t.Context(), ""); return err },
		"pods":  func() error { _, err := c.Agents(t.Context(), "", ""); return err },
		"sets":  func() error { _, err := c.DaemonSets(t.Context(), "", ""); return err },
	} {
		if err := ask(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", name, fmt.Sprint(err))
		}
	}
}

// A name from an object of a tenant leads to no other object.
func TestNamesStayInTheirPath(t *testing.T) {
	c := client(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked for %s", r.URL.Path) })
	for _, name := range []string{"../../../namespaces/kube-system/secrets/x", "..", ".", "a/../b", "a//b", "a/"} {
		if got, err := c.ConfigMap(t.Context(), "shop", name); err == nil {
			t.Errorf("ConfigMap %q: %+v", name, got)
		}
		if got, err := c.Pod(t.Context(), "shop", name); err == nil {
			t.Errorf("pod %q: %+v", name, got)
		}
	}
}
