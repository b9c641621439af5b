package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// A deployment is rolled twenty times under a collector. At each step,
// nodetune reports the logs that the collector does not watch: the new pod's log
// before the collector lists the directory, and no log after that.
func TestPodReload(t *testing.T) {
	holdKernel(t)
	ns := node.Namespace(t, nil)
	node.Create(t, rsyslog(ns, "collector"))
	pod := node.WaitPod(t, ns, "collector", "Ready", cluster.PodReady)
	collector := processOf(t, pod, "rsyslogd")
	t.Cleanup(func() { _ = syscall.Kill(collector, syscall.SIGCONT) })
	installText(t, promptly(t, "default"))

	began := time.Now()
	for i := 1; i <= 20; i++ {
		// A collector that looks for new logs every minute is as blind meanwhile.
		if err := syscall.Kill(collector, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		name := roll(t, ns, i)
		agree(t, collector, func(unfollowed []string) bool { return slices.Contains(unfollowed, name) })
		if err := syscall.Kill(collector, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		agree(t, collector, func(unfollowed []string) bool { return len(unfollowed) == 0 })
	}
	t.Logf("20 rolls took %s", time.Since(began).Round(time.Second))
	cluster.Eventually(t, "every line of every pod is collected", func(context.Context) error {
		got := received(t, pod)
		for i := 1; i <= 20; i++ {
			if want := fmt.Sprintf("this is roll %d.", i); !strings.Contains(got, want) {
				return fmt.Errorf("%q is missing", want)
			}
		}
		return nil
	})
	cluster.Eventually(t, "the agent says so", func(context.Context) error {
		if got := metrics(t); !strings.Contains(got, "\nnodetune_log_unfollowed 0\n") {
			_, line, _ := strings.Cut(got, "\nnodetune_log_unfollowed ")
			line, _, _ = strings.Cut(line, "\n")
			return fmt.Errorf("nodetune_log_unfollowed is %s", line)
		}
		return nil
	})
	waitCondition(t, "LogCollectorStalled", corev1.ConditionFalse)
}

// roll rolls the deployment and returns the name of its new pod, which has
// written to its log and is the only one left.
func roll(t *testing.T, ns string, i int) string {
	t.Helper()
	node.MustKubectl(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: reloaded, namespace: %s}
spec:
  selector: {matchLabels: {app: reloaded}}
  template:
    metadata: {labels: {app: reloaded, roll: "%d"}}
    spec:
      terminationGracePeriodSeconds: 0
      enableServiceLinks: false
      containers:
        - name: app
          image: %s
          imagePullPolicy: Never
          command: [sh, -c, "echo this is roll %d.; exec sleep 1000000"]
`, ns, i, cluster.ShellImage, i), "apply", "-f", "-")
	var name string
	cluster.Eventually(t, fmt.Sprintf("roll %d is there, and no other", i), func(ctx context.Context) error {
		pods, err := node.Client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "app=reloaded"})
		if err != nil {
			return err
		}
		if len(pods.Items) != 1 || pods.Items[0].Labels["roll"] != strconv.Itoa(i) || !cluster.PodReady(&pods.Items[0]) {
			return fmt.Errorf("there are %d pods", len(pods.Items))
		}
		name = pods.Items[0].Name
		return nil
	})
	return name
}

// agree waits until nodetune and the collector's own watches name the same pods
// whose logs have no reader, and right is true of them.
func agree(t *testing.T, collector int, right func(unfollowed []string) bool) {
	t.Helper()
	cluster.Eventually(t, "nodetune and the collector's watches agree", func(ctx context.Context) error {
		truth := unwatched(t, collector)
		out, err := nodetune(ctx, "disk", "--output=json", "--window=1ms")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		var doc struct {
			Disk struct{ Unfollowed []struct{ Pod string } }
		}
		if err := json.NewDecoder(strings.NewReader(out)).Decode(&doc); err != nil {
			return err
		}
		var said []string
		for _, x := range doc.Disk.Unfollowed {
			said = append(said, x.Pod)
		}
		slices.Sort(said)
		if !slices.Equal(said, truth) || !right(said) {
			return fmt.Errorf("nodetune says %q, the watches %q", said, truth)
		}
		return nil
	})
}

// unwatched returns the pods with a log that holds something and that process
// pid neither watches nor has open.
func unwatched(t *testing.T, pid int) []string {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	followed := map[uint64]bool{}
	fds, err := filepath.Glob(filepath.Join(proc, "fd/*"))
	if err != nil || len(fds) == 0 {
		t.Fatalf("the collector is gone: %v", err)
	}
	for _, fd := range fds {
		var st syscall.Stat_t
		if syscall.Stat(fd, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG {
			followed[st.Ino] = true
		}
		b, _ := os.ReadFile(filepath.Join(proc, "fdinfo", filepath.Base(fd))) // may be closed by now
		for line := range strings.Lines(string(b)) {
			var wd int
			var ino uint64
			if n, _ := fmt.Sscanf(line, "inotify wd:%d ino:%x ", &wd, &ino); n == 2 {
				followed[ino] = true
			}
		}
	}
	logs, err := filepath.Glob("/var/log/pods/*/*/0.log") // nothing restarts here
	if err != nil {
		t.Fatal(err)
	}
	var alone []string
	for _, log := range logs {
		var st syscall.Stat_t
		if syscall.Stat(log, &st) == nil && st.Size > 0 && !followed[st.Ino] {
			dir := filepath.Base(filepath.Dir(filepath.Dir(log))) // NAMESPACE_POD_UID
			alone = append(alone, strings.Split(dir, "_")[1])
		}
	}
	slices.Sort(alone)
	return alone
}

// processOf returns the pid of a pod's process called comm.
func processOf(t *testing.T, pod *corev1.Pod, comm string) int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		name, _ := os.ReadFile(file) // it may have ended
		cgroup, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup"))
		if strings.TrimSpace(string(name)) == comm && strings.Contains(string(cgroup), string(pod.UID)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("pod %s has no process %s", pod.Name, comm)
	return 0
}
