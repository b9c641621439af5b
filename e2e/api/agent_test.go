package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/fleet"
	"github.com/nodetune/nodetune/reporter/kube"
)

// binary builds nodetune once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(dir, "nodetune")
	build := exec.Command("go", "build", "-o", path, "./cmd/nodetune")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build nodetune: %w\n%s", err, out)
	}
	return path, err
})

// nodetune runs a command and returns what it prints.
func nodetune(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append(args, "--kubeconfig", server.Kubeconfig)...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("nodetune %s: %v\n%s", strings.Join(args, " "), err, &problems)
	}
	return string(out)
}

// kernel is a tree of settings as below /proc/sys: what is read and written here
// is about the API, the kernel's own is for other tests.
func kernel(t *testing.T) (proc string) {
	t.Helper()
	proc = t.TempDir()
	for name, value := range map[string]string{
		"fs/inotify/max_user_instances": "128", "fs/inotify/max_user_watches": "65536", "fs/inotify/max_queued_events": "16384",
		"fs/file-max": "9223372036854775807", "fs/nr_open": "1048576", "fs/epoll/max_user_watches": "5000000",
	} {
		path := filepath.Join(proc, "sys", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, value+"\n")
	}
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(proc, "meminfo"), string(meminfo))
	return proc
}

// agent runs `nodetune run` for a Node; its log is t's.
func agent(t *testing.T, node, proc string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{
		"run", "--node-name", node, "--kubeconfig", server.Kubeconfig, "--path.procfs", proc,
		"--path.rootfs", t.TempDir(), "--web.listen-address", "",
	}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(log); lines.Scan(); {
			t.Log(lines.Text())
		}
		_, _ = io.Copy(io.Discard, log)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	return cmd
}

func configuration(t *testing.T, reporterBlock string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nodetune.yaml")
	write(t, file, "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\nreporter:\n"+reporterBlock)
	return file
}

// The whole agent: conditions, an Event, kill -9 and restart, the table of
// nodes, and no trace after cleanup.
func TestAgent(t *testing.T) {
	n := makeNode(t, "agent")
	config := configuration(t, "  conditions: {debounce: 0s, jitter: 0s, enterPasses: 1}\n")
	proc := kernel(t)
	first := agent(t, n.Name, proc, "--dry-run", "--config", config)
	wait(t, "drift is a condition", func() bool { return conditions(t, n.Name)[condition.SysctlDrift].Status == "True" })
	is := conditions(t, n.Name)[condition.SysctlDrift]
	if is.Reason != condition.FloorNotHeld || !strings.Contains(is.Message, "max_user_instances is 128, wanted at least 8192") {
		t.Errorf("condition %+v", is)
	}
	wait(t, "and an Event", func() bool {
		l, err := server.Client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "reason=" + condition.FloorNotHeld})
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Items) == 1 && l.Items[0].InvolvedObject.UID == n.UID
	})

	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var nodes struct{ Nodes []fleet.Node }
	if err := json.Unmarshal([]byte(nodetune(t, "nodes", n.Name, "-o", "json")), &nodes); err != nil {
		t.Fatal(err)
	}
	if len(nodes.Nodes) != 1 || nodes.Nodes[0].State != fleet.Problem || nodes.Nodes[0].Reason != "SysctlDrift (FloorNotHeld)" {
		t.Errorf("nodes %+v", nodes.Nodes)
	}

	// Its successor may write: the drift ends, after five clear passes.
	second := agent(t, n.Name, proc, "--config", config)
	wait(t, "the floor holds", func() bool {
		b, err := os.ReadFile(filepath.Join(proc, "sys/fs/inotify/max_user_instances"))
		return err == nil && strings.HasPrefix(string(b), "8192")
	})
	for range 6 {
		if err := second.Process.Signal(syscall.SIGHUP); err != nil { // a pass now
			t.Fatal(err)
		}
		if got := conditions(t, n.Name)[condition.SysctlDrift]; got.Status == "True" && got.LastTransitionTime != is.LastTransitionTime {
			t.Errorf("the restart made it %+v, was %+v", got, is)
		}
		pause()
	}
	wait(t, "recovered", func() bool { return conditions(t, n.Name)[condition.SysctlDrift].Status == "False" })

	if err := second.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out := nodetune(t, "cleanup", "--node-name", n.Name); !strings.Contains(out, "removed SysctlDrift") {
		t.Errorf("cleanup: %s", out)
	}
	if got := conditions(t, n.Name); len(got) != 2 {
		t.Errorf("after cleanup %+v", got)
	}
}

// Pods request floors within what the configuration permits. A pod gets an Event
// for a request that is not permitted.
func TestPodsAsk(t *testing.T) {
	n := makeNode(t, "pods-ask")
	for _, ns := range []string{"logging", "elsewhere"} {
		makeNamespace(t, ns)
	}
	proc := kernel(t)
	cmd := agent(t, n.Name, proc, "--config", configuration(t, "  podDemands: {enabled: true, namespaces: [logging]}\n"))
	value := func(want string) func() bool {
		return func() bool {
			b, err := os.ReadFile(filepath.Join(proc, "sys/fs/inotify/max_user_instances"))
			return err == nil && strings.TrimSpace(string(b)) == want
		}
	}
	wait(t, "the administrator's floor", value("8192"))
	pod := makePod(t, n.Name, "logging", "asks", map[string]string{kube.FloorAnnotation: "fs.inotify.max_user_instances=9001"})
	wait(t, "what the pod asks for", value("9001"))
	over := makePod(t, n.Name, "logging", "greedy", map[string]string{kube.FloorAnnotation: "fs.inotify.max_user_instances=999999"})
	wait(t, "the ceiling", value("131072"))
	waitEvent(t, over, kube.DemandOverCeiling)
	waitEvent(t, makePod(t, n.Name, "elsewhere", "stranger", map[string]string{kube.InstancesAnnotation: "64"}), kube.DemandNotAllowed)
	waitEvent(t, makePod(t, n.Name, "logging", "wrong", map[string]string{kube.FloorAnnotation: "many, please"}), kube.DemandInvalid)

	forbidden := makePod(t, n.Name, "logging", "lakefs", nil)
	forbidden.Status.Phase, forbidden.Status.Reason = corev1.PodFailed, "SysctlForbidden" // what the kubelet writes
	if _, err := server.Client.CoreV1().Pods("logging").UpdateStatus(t.Context(), forbidden, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitEvent(t, forbidden, kube.NodeWideSysctl)

	for _, p := range []*corev1.Pod{pod, over} {
		if err := server.Client.CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, *metav1.NewDeleteOptions(0)); err != nil {
			t.Fatal(err)
		}
	}
	pause()
	if !value("131072")() {
		t.Error("the pods left, and the limit was lowered")
	}
	t.Logf("with client-go and two watches: %s", rssAnon(t, cmd.Process.Pid))
}

// rssAnon is what the process holds beyond its program's file, proc_pid_status(5).
func rssAnon(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var is []string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "RssAnon") || strings.HasPrefix(line, "VmRSS") {
			is = append(is, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(is, ", ")
}

func makeNamespace(t *testing.T, name string) {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := server.Client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// No controller makes one here, and no pod is admitted without.
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name}}
	if _, err := server.Client.CoreV1().ServiceAccounts(name).Create(t.Context(), sa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Client.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{})
	})
}

// makePod makes a pod that is bound to node; no kubelet runs it.
func makePod(t *testing.T, node, namespace, name string, annotations map[string]string) *corev1.Pod {
	t.Helper()
	no := false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeName: node, AutomountServiceAccountToken: &no,
			Containers:      []corev1.Container{{Name: "c", Image: "none"}},
			SecurityContext: &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "fs.inotify.max_user_instances", Value: "8192"}}},
		},
	}
	made, err := server.Client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// waitEvent waits for an Event on pod.
func waitEvent(t *testing.T, pod *corev1.Pod, reason string) {
	t.Helper()
	wait(t, reason+" on pod "+pod.Name, func() bool {
		l, err := server.Client.CoreV1().Events(pod.Namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID) + ",reason=" + reason})
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Items) == 1
	})
}

// nodes --live asks an agent through the API server's pod proxy, in the way of
// the pod's probes. The API server asks no loopback address, so the agents
// listen on this machine's other one.
func TestNodesLive(t *testing.T) {
	mute := makeNode(t, "mute")
	makeNamespace(t, "agents")
	// Another server's certificate: the pod proxy does not look at it.
	cert := filepath.Join(dir, "pki", "apiserver")
	tls := fmt.Sprintf("tls_server_config: {cert_file: %s.crt, key_file: %s.key}\n", cert, cert)
	for _, tt := range []struct {
		name, web string
		scheme    corev1.URIScheme
		says      string // instead of an answer
	}{
		{name: "plain", scheme: corev1.URISchemeHTTP},
		{name: "closed", scheme: corev1.URISchemeHTTP, says: "web.report: open"},
		{name: "tls", scheme: corev1.URISchemeHTTPS, web: tls},
		// bcrypt of "test", out of exporter-toolkit's documentation.
		{
			name: "password", scheme: corev1.URISchemeHTTPS, says: "wants a password",
			web: tls + "basic_auth_users: {alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze}\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := makeNode(t, "live-"+tt.name)
			address, port := outside(t)
			args := []string{"--dry-run", "--web.listen-address", net.JoinHostPort(address, port)}
			if tt.says != "web.report: open" {
				file := filepath.Join(t.TempDir(), "config.yaml")
				text := "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\nweb: {report: open}\n"
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config", file)
			}
			if tt.web != "" {
				file := filepath.Join(t.TempDir(), "web.yaml")
				if err := os.WriteFile(file, []byte(tt.web), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--web.config.file", file)
			}
			agent(t, n.Name, "/proc", args...)
			makeAgentPod(t, n.Name, address, port, tt.scheme)
			var doc struct{ Nodes []fleet.Node }
			wait(t, "the agent answers", func() bool {
				doc.Nodes = nil
				if err := json.Unmarshal([]byte(nodetune(t, "nodes", n.Name, mute.Name, "--live", "--sort", "name", "-o", "json")), &doc); err != nil {
					t.Fatal(err)
				}
				if len(doc.Nodes) != 2 {
					t.Fatalf("%d nodes, want 2", len(doc.Nodes))
				}
				if tt.says != "" {
					return strings.Contains(doc.Nodes[0].Live.Error, tt.says)
				}
				return doc.Nodes[0].Live.Error == ""
			})
			live, silent := doc.Nodes[0], doc.Nodes[1]
			if tt.says == "" && (live.Live.OpenFiles.Used < 1 || live.Live.Instances.Limit < 1) {
				t.Errorf("live %+v", live.Live)
			}
			if silent.State != fleet.Silent || !strings.Contains(silent.Live.Error, "no running pod") {
				t.Errorf("a node without an agent: %+v %+v", silent, silent.Live)
			}
			t.Log(nodetune(t, "nodes", n.Name, mute.Name, "--live"))
		})
	}
}

// A label makes no agent: a tenant's pod that has it is asked nothing, neither on a node
// without an agent nor beside one. Its own log of requests is the witness.
func TestOneNamespaceIsAsked(t *testing.T) {
	const label = "one-namespace" // the other tests of this server have agents too
	makeNamespace(t, "one-namespace")
	makeNamespace(t, "tenant")
	var asked, spoofed atomic.Int32
	serve := func(counter *atomic.Int32) (address, port string) {
		address, port = outside(t)
		l, err := net.Listen("tcp", net.JoinHostPort(address, port))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			counter.Add(1)
			_, _ = io.WriteString(w, `{"apiVersion":"nodetune.io/v1alpha1","kind":"Report","inotify":{"limits":{"max_user_instances":8192}}}`)
		})}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
		return address, port
	}
	tuned, bare := makeNode(t, "with-agent"), makeNode(t, "without-agent")
	address, port := serve(&asked)
	makeLabelledPod(t, label, "one-namespace", tuned.Name, "agent", address, port, corev1.URISchemeHTTP)
	address, port = serve(&spoofed)
	makeLabelledPod(t, label, "tenant", bare.Name, "agent", address, port, corev1.URISchemeHTTP)
	makeLabelledPod(t, label, "tenant", tuned.Name, "beside", address, port, corev1.URISchemeHTTP)

	args := []string{"nodes", tuned.Name, bare.Name, "--live", "--sort", "name", "-o", "json", "--agent-selector", "app.kubernetes.io/name=" + label}
	var doc struct{ Nodes []fleet.Node }
	if err := json.Unmarshal([]byte(nodetune(t, append(args, "--agent-namespace", "one-namespace")...)), &doc); err != nil || len(doc.Nodes) != 2 {
		t.Fatalf("%v: %+v", err, doc)
	}
	if live := doc.Nodes[0].Live; live == nil || live.Error != "" || live.Instances.Limit != 8192 {
		t.Errorf("the agent answers %+v", live)
	}
	if live := doc.Nodes[1].Live; live == nil || !strings.Contains(live.Error, "no running pod") {
		t.Errorf("on the node without an agent %+v answers", live)
	}
	// Without the flag nobody is asked, and the error says what to do.
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, append(args, "--kubeconfig", server.Kubeconfig)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not all need be nodetune's: give --agent-namespace") {
		t.Errorf("%v: %s", err, out)
	}
	if asked.Load() != 1 || spoofed.Load() != 0 {
		t.Errorf("the agent was asked %d times and the tenant %d times, want 1 and 0", asked.Load(), spoofed.Load())
	}
}

// makeAgentPod makes a running pod that stands for the agent at an address.
func makeAgentPod(t *testing.T, node, address, port string, scheme corev1.URIScheme) {
	t.Helper()
	makeLabelledPod(t, "nodetune", "agents", node, node, address, port, scheme)
}

func makeLabelledPod(t *testing.T, label, namespace, node, name, address, port string, scheme corev1.URIScheme) {
	t.Helper()
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	no := false
	pods := server.Client.CoreV1().Pods(namespace)
	pod, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/name": label}},
		Spec: corev1.PodSpec{NodeName: node, AutomountServiceAccountToken: &no, Containers: []corev1.Container{{
			Name: "c", Image: "none", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: int32(number)}},
			ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: "/readyz", Port: intstr.FromString("metrics"), Scheme: scheme,
			}}},
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs = corev1.PodRunning, address, []corev1.PodIP{{IP: address}}
	if _, err := pods.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// outside returns an address of this machine that is not a loopback one, and a
// free port.
func outside(t *testing.T) (address, port string) {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
			l, err := net.Listen("tcp", net.JoinHostPort(ip.IP.String(), "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			_, port, err := net.SplitHostPort(l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			return ip.IP.String(), port
		}
	}
	t.Fatalf("this machine has no address but loopback ones: %v", all)
	return "", ""
}
