package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/sandbox"
)

// Patience is how long a test waits for something that happens in seconds on
// an idle machine. It bounds a failure; it is not a performance target.
const Patience = 3 * time.Minute

// Eventually calls check until it returns nil, and fails t with the last error
// when it has not after [Patience].
func Eventually(t testing.TB, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if err := poll(ctx, 200*time.Millisecond, check); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// MustKubectl is [API.KubectlInput] for tests.
func (a *API) MustKubectl(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	out, err := a.KubectlInput(t.Context(), stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Namespace makes a namespace for t, which ends with it.
func (c *Cluster) Namespace(t testing.TB, labels map[string]string) string {
	t.Helper()
	ns, err := c.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Labels: labels},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.DeleteNamespace(t, ns.Name) })
	// A pod is refused until its service account exists.
	Eventually(t, "service account default in "+ns.Name, func(ctx context.Context) error {
		_, err := c.Client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return ns.Name
}

// DeleteNamespace deletes a namespace and waits until it is gone, with its
// pods; t's own context may have ended.
func (c *Cluster) DeleteNamespace(t testing.TB, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	now := int64(0)
	_ = c.Client.CoreV1().Pods(name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
	if _, err := c.Kubectl(ctx, "delete", "namespace", name, "--ignore-not-found", "--wait=true"); err != nil {
		t.Errorf("delete namespace %s: %v", name, err)
	}
}

// Shell is a pod of [ShellImage] that runs script.
func Shell(namespace, name, script string) *corev1.Pod {
	now := int64(0)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &now,
			RestartPolicy:                 corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name:            name,
				Image:           ShellImage,
				ImagePullPolicy: corev1.PullNever,
				Command:         []string{"sh", "-c", script},
			}},
		},
	}
}

// Create creates a pod; what t has to say of the pod is in its error.
func (c *Cluster) Create(t testing.TB, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := c.Client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create pod %s: %v", pod.Name, err)
	}
	return made
}

// WaitPod waits until want is true of the pod and returns it.
func (c *Cluster) WaitPod(t testing.TB, namespace, name, what string, want func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var last *corev1.Pod
	Eventually(t, fmt.Sprintf("pod %s/%s: %s", namespace, name, what), func(ctx context.Context) error {
		pod, err := c.Client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		last = pod
		if want(pod) {
			return nil
		}
		return fmt.Errorf("it is %s %s: %+v", pod.Status.Phase, pod.Status.Reason, pod.Status.ContainerStatuses)
	})
	return last
}

// PodReady reports whether pod is Ready.
func PodReady(pod *corev1.Pod) bool {
	for _, cond := range pod.Status.Conditions {
		if cond.Type == corev1.PodReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}

// PodDone reports whether pod ran to its end.
func PodDone(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// Logs returns what a pod's only container printed.
func (c *Cluster) Logs(t testing.TB, namespace, pod string) string {
	t.Helper()
	b, err := c.Client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(t.Context())
	if err != nil {
		t.Fatalf("logs of pod %s: %v", pod, err)
	}
	return string(b)
}

// Main is for TestMain of a package whose tests share one cluster: it enters a
// sandbox, starts the cluster, runs inside with it and stops it. Where a test
// failed, NODETUNE_E2E_LOGS=DIR names where the logs of the cluster's programs
// are copied to.
func Main(opts Options, box sandbox.Options, inside func(*Cluster) int) int {
	return sandbox.Main(box, func() int {
		begin := time.Now()
		opts.Progress = func(part string, took time.Duration) {
			fmt.Fprintf(os.Stderr, "e2e: %5.1f s  %s\n", took.Seconds(), part)
		}
		c, err := Start(context.Background(), opts)
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", errors.Join(err, keepLogs()))
			return 1
		}
		fmt.Fprintf(os.Stderr, "e2e: %5.1f s  the cluster in all\n", time.Since(begin).Seconds())
		code := inside(c)
		if code != 0 {
			if err := keepLogs(); err != nil {
				fmt.Fprintln(os.Stderr, "e2e:", err)
			}
		}
		c.Stop()
		return code
	})
}

func keepLogs() error {
	to := os.Getenv("NODETUNE_E2E_LOGS")
	if to == "" {
		return nil
	}
	logs, err := filepath.Glob(filepath.Join(sandbox.Dir(), "cluster", "*.log"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, log := range logs {
		b, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(log)), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
