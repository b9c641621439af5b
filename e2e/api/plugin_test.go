package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/kube"
)

// hostAddress is an address of this machine to which an API server proxies: not a
// loopback one.
func hostAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip, _, err := net.ParseCIDR(a.String()); err == nil && ip.To4() != nil && ip.IsGlobalUnicast() {
			return ip.String()
		}
	}
	t.Fatal("this machine has no IPv4 address but loopback")
	return ""
}

// The plugin asks a real API server, with the rights of its user, and through its
// pod proxy a page that stands for an agent.
func TestPluginThroughTheProxy(t *testing.T) {
	makeNamespace(t, "plugin")
	n := makeNode(t, "plugin-node")
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{})
	s.say(condition.Clear, condition.SufficientInotify, "ok", condition.InotifyPressure)
	wait(t, "the condition", func() bool { return conditions(t, n.Name)[condition.InotifyPressure].Status == corev1.ConditionFalse })

	open, authorization := true, ""
	listener, err := net.Listen("tcp", net.JoinHostPort(hostAddress(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	page := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization += r.Header.Get("Authorization")
		switch {
		case r.URL.Path == "/metrics":
			_, _ = io.WriteString(w, `nodetune_build_info{version="v9.8.7"} 1`)
		case open:
			_, _ = io.WriteString(w, `{"kind":"Report","sysctl":{"rules":[{"key":"fs.file-max","op":"AtLeast","want":"1","value":"2","outcome":"InForce"}]},"inotify":{}}`)
		default:
			http.Error(w, "closed", http.StatusNotFound)
		}
	}))
	page.Listener = listener
	page.Start()
	t.Cleanup(page.Close)
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	agentPod(t, n.Name, host, int32(number))

	path := filepath.Join(t.TempDir(), "kubectl-nodetune")
	build := exec.Command("go", "build", "-o", path, "./cmd/kubectl-nodetune")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(want int, parts []string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), path, append(args, "--kubeconfig", server.Kubeconfig, "--agent-namespace=plugin")...)
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code, err = exit.ExitCode(), nil
		}
		if err != nil || code != want {
			t.Errorf("%s: exit code %d, want %d, %v: %s", strings.Join(args, " "), code, want, err, &out)
		}
		for _, part := range parts {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%s: no %q in:\n%s", strings.Join(args, " "), part, &out)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	run(0, []string{"healthy: 1 desired, 1 ready, 1 updated; version v9.8.7"}, "status")
	run(0, []string{n.Name, "ok"}, "nodes", n.Name)
	run(0, []string{"fs.file-max", "InForce"}, "check", n.Name)
	run(0, []string{"1 agents"}, "bundle", n.Name, "--file", file)
	run(0, []string{"InForce"}, "check", n.Name, "--from", file)
	run(3, []string{"no right to get pods/proxy in namespace plugin", "no right to create and get pods/exec in namespace plugin"}, "check", n.Name, "--as=reader", "--as-group=plugin-readers")
	run(3, []string{"list the agents' pods: "}, "check", n.Name, "--as=guest")
	open = false
	// No kubelet runs here, so that exec fails too.
	run(3, []string{"set web.report: open (chart: report=open)", "by exec: "}, "check", n.Name)
	if authorization != "" {
		t.Error("the API server passed credentials on")
	}
}

// agentPod makes a DaemonSet and its pod with the status that controllers and a
// kubelet give them, and a group that may list both.
func agentPod(t *testing.T, node, host string, port int32) {
	t.Helper()
	labels := map[string]string{"app.kubernetes.io/name": "nodetune"}
	no := false
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
		AutomountServiceAccountToken: &no, NodeName: node,
		Containers: []corev1.Container{{Name: "nodetune", Image: "none", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: port}}}},
	}}
	sets := server.Client.AppsV1().DaemonSets("plugin")
	d, err := sets.Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "nodetune", Labels: labels},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.Status = appsv1.DaemonSetStatus{ObservedGeneration: d.Generation, DesiredNumberScheduled: 1, CurrentNumberScheduled: 1, NumberReady: 1, UpdatedNumberScheduled: 1}
	if _, err := sets.UpdateStatus(t.Context(), d, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	pods := server.Client.CoreV1().Pods("plugin")
	p, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "nodetune-a", Labels: labels, OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: d.Name, UID: d.UID}}},
		Spec:       template.Spec,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		_ = pods.Delete(context.Background(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
		_ = sets.Delete(context.Background(), d.Name, metav1.DeleteOptions{})
	})
	p.Status.Phase, p.Status.PodIP, p.Status.PodIPs = corev1.PodRunning, host, []corev1.PodIP{{IP: host}}
	if _, err := pods.UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	server.MustKubectl(t, "", "-n", "plugin", "create", "role", "plugin-readers", "--verb=list", "--resource=pods")
	server.MustKubectl(t, "", "-n", "plugin", "create", "rolebinding", "plugin-readers", "--role=plugin-readers", "--group=plugin-readers")
}
