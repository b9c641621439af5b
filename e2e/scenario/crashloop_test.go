package scenario

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// Root's instances are used up, and a log collector is in CrashLoopBackOff.
// nodetune is installed, and the collector becomes Ready by itself.
func TestCrashLoop(t *testing.T) {
	holdKernel(t)
	keepUsedUp(t)
	ns := node.Namespace(t, nil)
	startCollector(t, ns, "")
	before := waitCollector(t, ns, "crashes", func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) == 1 {
			s := p.Status.ContainerStatuses[0]
			if s.RestartCount >= 2 && s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff" {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", p.Status.ContainerStatuses)
	})
	if log := node.Logs(t, ns, before.Name); !strings.Contains(log, "max_user_instances") {
		t.Fatalf("the collector fails for another reason: %s", log)
	}

	install(t, "default")
	after := waitCollector(t, ns, "is Ready", ready)
	if after.UID != before.UID {
		t.Errorf("the pod was replaced: it did not recover by itself")
	}
	if got := get(t, maxInstances); got != "8192" {
		t.Errorf("%s is %s, want 8192", maxInstances, got)
	}
	waitNodeEvent(t, "LimitRaised", "pod "+ns+"/"+after.Name+": the log of container collector ends with errno 24 (EMFILE), and "+maxInstances+" was too low; nodetune has raised it")
	want := `nodetune_sysctl_writes_total{key="fs.inotify.max_user_instances",result="success"} 1`
	cluster.Eventually(t, "the metrics say what was written, and what root uses", func(context.Context) error {
		got := metrics(t)
		if !strings.Contains(got, want) {
			return fmt.Errorf("they do not say %s", want)
		}
		if m := rootInstances.FindStringSubmatch(got); m == nil || len(m[1]) < 3 {
			return fmt.Errorf("root's instances are %q, want 100 or more", m)
		}
		return nil
	})
	drift := waitCondition(t, "SysctlDrift", corev1.ConditionFalse)
	if drift.Reason != "FloorsInForce" {
		t.Errorf("SysctlDrift is False for the reason %q, want FloorsInForce", drift.Reason)
	}
}

// With the startup taint no collector comes to a node before it is tuned: it
// never crashed at all.
func TestCrashLoopNeverWithStartupTaint(t *testing.T) {
	holdKernel(t)
	keepUsedUp(t)
	const taint = "nodetune.io/not-ready"
	// What kubelet --register-with-taints does on a new node.
	node.MustKubectl(t, "", "taint", "node", sandbox.Hostname, taint+"=:NoSchedule")
	t.Cleanup(func() {
		_, _ = node.Kubectl(context.Background(), "taint", "node", sandbox.Hostname, taint+"-")
	})
	ns := node.Namespace(t, nil)
	startCollector(t, ns, "")
	cluster.Eventually(t, "the collector waits", func(ctx context.Context) error {
		ds, err := node.Client.AppsV1().DaemonSets(ns).Get(ctx, "collector", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if ds.Status.ObservedGeneration == 0 || ds.Status.DesiredNumberScheduled != 0 {
			return fmt.Errorf("its DaemonSet is %+v", ds.Status)
		}
		return nil
	})
	install(t, "startup-taint")
	pod := waitCollector(t, ns, "is Ready", ready)
	if n := pod.Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Errorf("the collector crashed %d times", n)
	}
	n, err := node.Client.CoreV1().Nodes().Get(t.Context(), sandbox.Hostname, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range n.Spec.Taints {
		if x.Key == taint {
			t.Errorf("the taint is still there")
		}
	}
}

// rootInstances is the metric of what root has in use.
var rootInstances = regexp.MustCompile(`\nnodetune_inotify_instances\{[^}]*uid="0"[^}]*\} ([0-9]+)\n`)

// useUpInstances takes every inotify instance that root has left, as dozens of
// pods do: two for each shim, 50 for a kubelet.
func useUpInstances(t *testing.T) {
	t.Helper()
	fds, err := takeInstances()
	t.Cleanup(func() { giveBack(fds) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("took %d instances", len(fds))
}

// keepUsedUp is useUpInstances, and takes those that another process of root
// gives back, for as long as the limit is the kernel's.
func keepUsedUp(t *testing.T) {
	t.Helper()
	useUpInstances(t)
	end, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(end); <-done })
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if b, err := os.ReadFile(keyFile(maxInstances)); err != nil || string(b) != "128\n" {
				continue
			}
			fds, _ := takeInstances()
			defer giveBack(fds)
		}
	}()
}

func takeInstances() (fds []int, err error) {
	for {
		switch fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC); {
		case err == syscall.EMFILE:
			return fds, nil
		case err != nil:
			return fds, err
		default:
			fds = append(fds, fd)
		}
	}
}

func giveBack(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}

// startCollector starts a DaemonSet that watches the logs, with annotations of
// its pods.
func startCollector(t *testing.T, ns, annotations string) {
	t.Helper()
	node.MustKubectl(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: collector, namespace: %s}
spec:
  selector: {matchLabels: {app: collector}}
  template:
    metadata: {labels: {app: collector}, annotations: {%s}}
    spec:
      terminationGracePeriodSeconds: 0
      enableServiceLinks: false
      dnsPolicy: Default
      containers:
        - name: collector
          image: %s
          imagePullPolicy: Never
          command: [/usr/bin/inotifywait, --monitor, --quiet, /var/log]
          volumeMounts: [{name: log, mountPath: /var/log, readOnly: true}]
      volumes: [{name: log, hostPath: {path: /var/log}}]
`, ns, annotations, collectorImage), "apply", "-f", "-")
}

func ready(p *corev1.Pod) error {
	if !cluster.PodReady(p) {
		return fmt.Errorf("it is %+v", p.Status.ContainerStatuses)
	}
	return nil
}

// waitCollector waits until check of the collector's only pod returns nil.
func waitCollector(t *testing.T, ns, what string, check func(*corev1.Pod) error) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	cluster.Eventually(t, "the collector "+what, func(ctx context.Context) error {
		pods, err := node.Client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=collector"})
		if err != nil {
			return err
		}
		if len(pods.Items) != 1 {
			return fmt.Errorf("there are %d of it", len(pods.Items))
		}
		pod = &pods.Items[0]
		return check(pod)
	})
	return pod
}
