package scenario

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// mountTracing does what systemd does, where there is none.
func mountTracing(t *testing.T) {
	t.Helper()
	const tracing = "/sys/kernel/tracing"
	if _, err := os.Stat(tracing + "/events"); err == nil {
		return
	}
	if err := syscall.Mount("tracefs", tracing, "tracefs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(tracing, syscall.MNT_DETACH) })
}

// A collector whose inotify is refused is gone before anybody can look at it.
// The agent says whose it was and which limit it met, on the Node.
func TestRefused(t *testing.T) {
	inTable(t, "hostPath `/sys/kernel/tracing`, read-only (overlay refusals; read-write without `BPF`)")
	holdKernel(t)
	mountTracing(t)
	// Nothing is raised: the refusals go on.
	text := strings.Replace(kustomize(t, "refusals"), "      refusals: true\n", "      refusals: true\n    sysctl:\n      rules:\n      - {key: "+maxInstances+", reportOnly: true}\n", 1)
	if !strings.Contains(text, "reportOnly") {
		t.Fatalf("the overlay has no refusals:\n%s", text)
	}
	installText(t, text)
	waitLog(t, "tracing failed inotify calls")
	useUpInstances(t)
	ns := node.Namespace(t, nil)
	startCollector(t, ns, "")
	pod := waitCollector(t, ns, "crashes", func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount >= 1 {
			return nil
		}
		return fmt.Errorf("it is %+v", p.Status.ContainerStatuses)
	})
	why := "inotify_init1 was refused with EMFILE, " + maxInstances
	waitNodeEvent(t, "InotifyRefused", ns+"/"+pod.Name+":collector: "+why)
	for _, want := range []string{
		`nodetune_inotify_refusals_total{call="inotify_init1",errno="EMFILE",resource="inotify_instances"} `,
		`nodetune_inotify_consumer_refusals_total{comm="inotifywait",container="collector",namespace="` + ns + `",pod="` + pod.Name + `",resource="inotify_instances"} `,
	} {
		if got := metrics(t); !strings.Contains(got, want) {
			t.Errorf("the metrics do not say %s\n%s", want, got)
		}
	}
}

const (
	refusedTimes = 5000
	// refusedImage is a program that goes on when it is refused.
	refusedImage = "nodetune.test/refused:1"
)

// refused is a pod whose two containers, each with a user of its own,
// are refused refusedTimes instances, by the limit of the user and by their own
// RLIMIT_NOFILE, with each SIGUSR1.
func refused(ns string) *corev1.Pod {
	script := fmt.Sprintf(`
		$| = 1;
		$SIG{USR1} = sub { $go++ };
		print "ready\n";
		for ($go = 0;;) {
			select(undef, undef, undef, 0.1) until $go;
			$go--;
			for ($n = 0; $n < %d;) {
				next if syscall(%d, 0) >= 0;
				select(undef, undef, undef, 0.001) unless ++$n %% 2; # some seconds in all
			}
			print "enough\n";
		}`, refusedTimes, syscall.SYS_INOTIFY_INIT1)
	p := cluster.Shell(ns, "refused", "")
	c := p.Spec.Containers[0]
	c.Image = refusedImage
	p.Spec.Containers = nil
	for i, name := range []string{"instances", "nofile"} {
		uid := 70555 + int64(i)
		c.Name, c.SecurityContext = name, &corev1.SecurityContext{RunAsUser: &uid}
		c.Command = []string{"sh", "-c", map[string]string{"nofile": "ulimit -n 20; "}[name] + `exec perl -e "$0"`, script}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	return p
}

// With the right to write Events on pods, the pod gets one Event for each limit,
// however often it was refused. An agent that restarts does not repeat them. `top`
// shows the refusals while they happen.
func TestRefusedOnPod(t *testing.T) {
	inTable(t, "token: list, watch `pods` (pod-demands)")
	holdKernel(t)
	mountTracing(t)
	img, err := cluster.FromPrograms(refusedImage, "/usr/bin/perl", "/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	img.Links = map[string]string{"/bin/sh": "/bin/busybox", "/bin/kill": "/bin/busybox"}
	if err := node.LoadImage(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	installText(t, node.MustKubectl(t, "", "kustomize", refusalsOnPods(t)))
	waitLog(t, "tracing failed inotify calls")
	ns := node.Namespace(t, nil)
	asked := len(requests(t))
	node.Create(t, refused(ns))
	refuse(t, ns, "instances")
	refuse(t, ns, "nofile")
	ofUser := "container instances: inotify_init1 was refused with EMFILE, " + maxInstances
	ofNOFILE := "container nofile: inotify_init1 was refused with EMFILE, its own RLIMIT_NOFILE"
	waitEvent(t, ns, "refused", "InotifyRefused", ofUser)
	waitEvent(t, ns, "refused", "InotifyRefused", ofNOFILE)
	waitRefused(t, ns, "instances", "inotify_instances", 1)
	waitRefused(t, ns, "nofile", "nofile", 1)
	writes := 0
	for _, r := range requests(t)[asked:] {
		if r.Resource == "events" && r.Namespace == ns {
			writes++
		}
	}
	said := saidOf(t, ns)
	t.Logf("%d writes for %q", writes, said)
	// Of each a first one, and its count while it goes on.
	if len(said) != 2 || writes > 12 {
		t.Error("one for each is enough")
	}

	node.MustKubectl(t, "", "-n", namespace, "delete", "pod", "--selector=app.kubernetes.io/component=agent", "--wait=true")
	waitAgent(t)
	waitLog(t, "tracing failed inotify calls")
	screen := topInTerminal(t)
	cluster.Eventually(t, "top is there", func(context.Context) error { return says(screen(), "POD OR UNIT") })
	if got := metrics(t); strings.Contains(got, `nodetune_inotify_consumer_refusals_total{comm="perl"`) {
		t.Errorf("what was refused before the agent was started is counted again:\n%s", got)
	}
	if again := saidOf(t, ns); len(again) != 2 {
		t.Errorf("a restart says %q", again)
	}
	refuse(t, ns, "instances")
	cluster.Eventually(t, "top says who is refused", func(context.Context) error {
		return says(screen(), " of "+ns+"/refused:instances ", " times inotify_init1: EMFILE, "+maxInstances+" of uid 70555, 128 of 128")
	})
	waitRefused(t, ns, "instances", "inotify_instances", 2)
	if said := saidOf(t, ns); len(said) > 3 {
		t.Errorf("the new agent makes it %q", said)
	}
}

// refusalsOnPods returns a Kustomization that combines components, as
// deploy/README.md says. Nothing is raised: the refusals go on.
func refusalsOnPods(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	from, err := filepath.Abs(deploy)
	if err != nil {
		t.Fatal(err)
	}
	if from, err = filepath.Rel(dir, from); err != nil { // kustomize takes no other
		t.Fatal(err)
	}
	text := strings.ReplaceAll(`
resources: [DEPLOY/base]
components: [DEPLOY/components/namespace, DEPLOY/components/bpf, DEPLOY/components/refusals, DEPLOY/components/pod-demands]
patches:
  - patch: |
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: nodetune, namespace: nodetune}
      data:
        config.yaml: |
          apiVersion: nodetune.io/v1alpha1
          kind: Configuration
          sysctl: {rules: [{key: `+maxInstances+`, reportOnly: true}]}
`, "DEPLOY", from)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// refuse lets a container begin, whose name the node has by then.
func refuse(t *testing.T, ns, container string) {
	t.Helper()
	cluster.Eventually(t, "container "+container+" is ready", func(ctx context.Context) error {
		out, err := node.Kubectl(ctx, "-n", ns, "logs", "refused", "--container="+container)
		if err == nil && !strings.Contains(out, "ready") {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	})
	node.MustKubectl(t, "", "-n", ns, "exec", "refused", "--container="+container, "--", "kill", "-USR1", "1")
}

// waitRefused waits until a container has been refused all of it for the
// round-th time, and the agent has counted that. A few that come while it reads
// may be missing, and the last second's may have to be read yet.
func waitRefused(t *testing.T, ns, container, resource string, round int) {
	t.Helper()
	cluster.Eventually(t, "container "+container+" is refused", func(ctx context.Context) error {
		out, err := node.Kubectl(ctx, "-n", ns, "logs", "refused", "--container="+container)
		if err == nil && strings.Count(out, "enough") < round {
			err = fmt.Errorf("it says %q", out)
		}
		return err
	})
	series := `nodetune_inotify_consumer_refusals_total{comm="perl",container="` + container + `",namespace="` + ns + `",pod="refused",resource="` + resource + `"} `
	n := 0
	cluster.Eventually(t, "the agent has counted", func(context.Context) error {
		_, line, _ := strings.Cut(metrics(t), series)
		line, _, _ = strings.Cut(line, "\n")
		if n, _ = strconv.Atoi(line); n < refusedTimes*98/100 {
			return fmt.Errorf("%s%q", series, line)
		}
		return nil
	})
	t.Logf("container %s was refused %d times, %d are counted", container, refusedTimes, n)
	if n > refusedTimes {
		t.Error("some are counted twice")
	}
}

// saidOf returns the Events on the pod about its refusals.
func saidOf(t *testing.T, ns string) (said []string) {
	t.Helper()
	events, err := node.Client.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=refused,reason=InotifyRefused"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events.Items {
		said = append(said, fmt.Sprintf("%s (%d times)", e.Message, e.Count))
	}
	return said
}

// topInTerminal runs nodetune top on the host; screen returns what it shows.
func topInTerminal(t *testing.T) (screen func() string) {
	t.Helper()
	config := filepath.Join(t.TempDir(), "nodetune.yaml")
	if err := os.WriteFile(config, []byte("apiVersion: nodetune.io/v1alpha1\nkind: Configuration\ninotify: {refusals: true}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("../bin/nodetune")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "tmux")
	tmux := func(args ...string) string {
		cmd := exec.Command("tmux", append([]string{"-S", socket}, args...)...)
		cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8", "TMUX=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	tmux("-f", "/dev/null", "new-session", "-d", "-x", "250", "-y", "50", bin+" top --config "+config+"; echo ended with $?; sleep 600")
	t.Cleanup(func() { tmux("kill-server") })
	return func() string { return tmux("capture-pane", "-p") }
}

func says(text string, all ...string) error {
	for _, want := range all {
		if !strings.Contains(text, want) {
			return fmt.Errorf("%q is not in:\n%s", want, text)
		}
	}
	return nil
}
