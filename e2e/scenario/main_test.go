// Package scenario plays the failures that nodetune exists for on a real node:
// each test shows first that the node fails without it.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

const (
	deploy    = "../../deploy"
	namespace = "nodetune"
	// collectorImage holds inotifywait(1), which fails at a limit as Fluent
	// Bit does: at once and for good.
	collectorImage = "nodetune.test/inotifywait:1"
	// syslogImage is rsyslog's imfile, which goes blind without a word.
	syslogImage = "nodetune.test/rsyslog:1"

	maxInstances = "fs.inotify.max_user_instances"
)

// syslogConfig collects what all pods say.
const syslogConfig = `
module(load="imfile" mode="inotify")
global(workDirectory="/out")
template(name="line" type="string" string="%msg%\\n")
input(type="imfile" file="/var/log/pods/*/*/*.log" tag="pod")
action(type="omfile" file="/out/received" template="line")
`

var node *cluster.Cluster

func TestMain(m *testing.M) {
	os.Exit(cluster.Main(cluster.Options{}, sandbox.Options{}, func(c *cluster.Cluster) int {
		node = c
		if err := loadImages(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}))
}

func loadImages() error {
	ctx := context.Background()
	collector, err := cluster.FromPrograms(collectorImage, "/usr/bin/inotifywait", "/bin/busybox")
	if err != nil {
		return err
	}
	collector.Links = map[string]string{"/bin/sh": "/bin/busybox", "/bin/seq": "/bin/busybox", "/bin/xargs": "/bin/busybox", "/bin/mkdir": "/bin/busybox"}
	syslog, err := cluster.FromPrograms(syslogImage, "/usr/sbin/rsyslogd", "/usr/lib/x86_64-linux-gnu/rsyslog/imfile.so", "/usr/lib/x86_64-linux-gnu/rsyslog/lmnet.so")
	if err != nil {
		return err
	}
	syslog.Text = map[string]string{"/etc/rsyslog.conf": syslogConfig}
	return errors.Join(
		node.LoadImage(ctx, collector),
		node.LoadImage(ctx, syslog),
		node.LoadArchive(ctx, "../bin/nodetune.tar"), // make e2e-image
	)
}

// holdKernel gives t the machine's settings alone, with instances as a kernel
// sets them.
func holdKernel(t *testing.T) {
	t.Helper()
	asked := time.Now()
	release, err := sandbox.HoldKernel()
	if err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(asked); waited > time.Second {
		t.Logf("other tests had the machine's settings for %s", waited.Round(time.Second))
	}
	t.Cleanup(func() {
		if err := release(); err != nil {
			t.Error(err)
		}
	})
	set(t, maxInstances, "128")
}

func keyFile(key string) string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
}

func set(t *testing.T, key, value string) {
	t.Helper()
	if err := os.WriteFile(keyFile(key), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, key string) string {
	t.Helper()
	b, err := os.ReadFile(keyFile(key))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// install applies an overlay, or base, and takes it away when t ends.
func install(t *testing.T, overlay string) {
	t.Helper()
	installText(t, kustomize(t, overlay))
}

func kustomize(t *testing.T, overlay string) string {
	t.Helper()
	return node.MustKubectl(t, "", "kustomize", filepath.Join(deploy, "overlays", overlay))
}

// promptly is an overlay that has less patience than the default configuration.
func promptly(t *testing.T, overlay string) string {
	t.Helper()
	const profile, reporter = "    profile: default\n", "    reporter:\n"
	text := kustomize(t, overlay)
	if !strings.Contains(text, reporter) {
		text = strings.Replace(text, profile, profile+reporter, 1)
	}
	return strings.Replace(text, reporter, `    disk:
      readers: {stalledAfter: 5s, unfollowedAfter: 5s}
    reporter:
      conditions: {enterPasses: 1, leavePasses: 1}
`, 1)
}

func installText(t *testing.T, text string) {
	t.Helper()
	before := requests(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cluster.Patience)
		defer cancel()
		notRefused(t, requests(t)[len(before):])
		if t.Failed() {
			out, err := node.Kubectl(ctx, "-n", namespace, "logs", "daemonset/nodetune", "--tail=40")
			t.Logf("nodetune's log: %v\n%s", err, out)
		}
		if _, err := node.KubectlInput(ctx, text, "delete", "--wait=true", "--ignore-not-found", "-f", "-"); err != nil {
			t.Error(err)
		}
		if err := cleanConditions(ctx); err != nil {
			t.Error(err)
		}
	})
	node.MustKubectl(t, text, "apply", "-f", "-")
	waitAgent(t)
}

func requests(t *testing.T) []cluster.Request {
	t.Helper()
	all, err := node.Requests()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// notRefused fails t where an agent has asked for what it has no right to.
func notRefused(t *testing.T, all []cluster.Request) {
	t.Helper()
	if strings.HasPrefix(t.Name(), "TestGrantsOfToken/") {
		return // which takes rights away
	}
	for _, r := range all {
		if r.Refused {
			t.Errorf("the API server refused %+v", r)
		}
	}
}

// waitAgent waits until the agent's pod is Ready, and returns it.
func waitAgent(t *testing.T) *corev1.Pod {
	t.Helper()
	var agent *corev1.Pod
	cluster.Eventually(t, "nodetune is Ready", func(ctx context.Context) error {
		pods, err := node.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
		if err != nil {
			return err
		}
		for i := range pods.Items {
			if p := &pods.Items[i]; p.DeletionTimestamp == nil && cluster.PodReady(p) {
				agent = p
				return nil
			}
		}
		return fmt.Errorf("no agent of %d is Ready", len(pods.Items))
	})
	return agent
}

// cleanConditions removes what the agents of a test have left on the Node, as
// their users do.
func cleanConditions(ctx context.Context) error {
	out, err := nodetune(ctx, "cleanup", "--all", "--kubeconfig="+node.Kubeconfig)
	if err != nil {
		return fmt.Errorf("cleanup: %w: %s", err, out)
	}
	return nil
}

// nodetune runs the binary of the image on the host.
func nodetune(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "../bin/nodetune", args...).CombinedOutput()
	return string(out), err
}

// metrics returns what the agent's pod publishes.
func metrics(t *testing.T) string {
	t.Helper()
	agent := waitAgent(t)
	return node.MustKubectl(t, "", "get", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+agent.Name+":9409/proxy/metrics")
}

// condition returns a condition of the node, or nil.
func condition(ctx context.Context, kind corev1.NodeConditionType) (*corev1.NodeCondition, error) {
	n, err := node.Client.CoreV1().Nodes().Get(ctx, sandbox.Hostname, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for i := range n.Status.Conditions {
		if n.Status.Conditions[i].Type == kind {
			return &n.Status.Conditions[i], nil
		}
	}
	return nil, nil
}

// waitCondition waits for a condition with a status.
func waitCondition(t *testing.T, kind corev1.NodeConditionType, want corev1.ConditionStatus) *corev1.NodeCondition {
	t.Helper()
	var last *corev1.NodeCondition
	cluster.Eventually(t, fmt.Sprintf("%s is %s", kind, want), func(ctx context.Context) error {
		c, err := condition(ctx, kind)
		if err != nil {
			return err
		}
		if c == nil || c.Status != want {
			return fmt.Errorf("it is %+v", c)
		}
		last = c
		return nil
	})
	return last
}

// waitNodeEvent waits for an Event of nodetune on the Node.
func waitNodeEvent(t *testing.T, reason, says string) {
	t.Helper()
	waitEvent(t, metav1.NamespaceDefault, sandbox.Hostname, reason, says)
}

// waitEvent waits for an Event of nodetune on an object, such as a pod.
func waitEvent(t *testing.T, ns, object, reason, says string) {
	t.Helper()
	cluster.Eventually(t, fmt.Sprintf("an Event %s on %s", reason, object), func(ctx context.Context) error {
		events, err := node.Client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + object})
		if err != nil {
			return err
		}
		var said []string
		for _, e := range events.Items {
			if e.Reason == reason && e.ReportingController == "nodetune" && strings.Contains(e.Message, says) {
				return nil
			}
			said = append(said, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("there are only %q", said)
	})
}
