package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/guard"
)

const (
	guardFloor = 8192 // of maxInstances, in the default profile
	// raisedLate is the time after which a raise is one of the agent's next pass,
	// which it makes every 30 s, and no answer to the write.
	raisedLate = 10 * time.Second
	// heldRounds is how often a collector calls inotify_init1 and reads the limit beside
	// a pod that lowers it: a million calls in all.
	heldRounds = 500_000
)

// installGuard installs an agent with the guard, which may write Events on pods,
// and waits until the floor holds.
func installGuard(t *testing.T, mode string) {
	t.Helper()
	dir := t.TempDir()
	from, err := filepath.Abs(deploy)
	if err != nil {
		t.Fatal(err)
	}
	if from, err = filepath.Rel(dir, from); err != nil { // kustomize takes no other
		t.Fatal(err)
	}
	text := strings.ReplaceAll(`
resources: [DEPLOY/base]
components: [DEPLOY/components/namespace, DEPLOY/components/bpf, DEPLOY/components/guard, DEPLOY/components/pod-demands]
`, "DEPLOY", from)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	text = node.MustKubectl(t, "", "kustomize", dir)
	const observe = "guard: observe\n"
	if !strings.Contains(text, observe) {
		t.Fatalf("the component guard sets no mode:\n%s", text)
	}
	installText(t, strings.Replace(text, observe, "guard: "+mode+"\n", 1))
	waitLog(t, `"msg":"sysctl guard","mode":"`+mode+`"`)
	cluster.Eventually(t, "the floor holds", func(context.Context) error {
		if got := get(t, maxInstances); got != strconv.Itoa(guardFloor) {
			return fmt.Errorf("%s is %s", maxInstances, got)
		}
		return nil
	})
}

// lowers is a pod whose privileged init container runs a script, as one that tunes
// the node for its own needs.
func lowers(ns, script string) *corev1.Pod {
	p := cluster.Shell(ns, "tunes", "sleep 1000")
	c := *p.Spec.Containers[0].DeepCopy()
	privileged := true
	c.Name, c.SecurityContext = "lower", &corev1.SecurityContext{Privileged: &privileged}
	c.Command = []string{"sh", "-c", "set -e; limit=" + keyFile(maxInstances) + "; " + script}
	p.Spec.InitContainers = []corev1.Container{c}
	return p
}

// A privileged init container lowers a limit below the floor of a running agent. The
// agent raises it again at once, and the pod has an Event. The kernel's own records
// of both writes, from a second guard, show the time between.
func TestGuardObserves(t *testing.T) {
	inTable(t, "`NET_ADMIN`, with `BPF` and `PERFMON` (overlay guard)")
	holdKernel(t)
	installGuard(t, "observe")
	witness, err := guard.Open(guard.Options{
		Procfs: "/proc", Cgroupfs: "/sys/fs/cgroup", Mode: guard.Observe,
		Floors: map[sysctl.Key]sysctl.Value{maxInstances: guardFloor},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = witness.Close() })
	ns := node.Namespace(t, nil)
	// The agent raises three times at once. Each write waits for the raise before.
	pod := node.Create(t, lowers(ns, fmt.Sprintf("for i in 1 2 3; do until [ $(cat $limit) = %d ]; do :; done; echo 128 > $limit; done", guardFloor)))
	for range 3 {
		low := nextWrite(t, witness, func(w guard.Write) bool { return w.New == 128 })
		if of := low.Workload(); of.PodUID != string(pod.UID) {
			t.Errorf("128 was written by %+v of %+v, want pod %s", low, of, pod.UID)
		}
		high := nextWrite(t, witness, func(w guard.Write) bool { return w.New >= guardFloor })
		took := high.Time.Sub(low.Time)
		t.Logf("raised again %v after the write, by %s", took.Round(10*time.Microsecond), high.Process())
		if took > raisedLate {
			t.Errorf("raised only after %v", took)
		}
	}
	waitEvent(t, ns, pod.Name, "SysctlLowered", "container lower wrote a value below its floor to "+maxInstances+" of the node, and nodetune raises it again")
	if got := metrics(t); !strings.Contains(got, `nodetune_sysctl_writes_observed_total{direction="lowered",key="`+maxInstances+`"} 3`) {
		t.Errorf("the metrics have no three lowered writes:\n%s", got)
	}
}

func nextWrite(t *testing.T, g *guard.Guard, want func(guard.Write) bool) guard.Write {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cluster.Patience)
	defer cancel()
	for {
		w, err := g.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if want(w) {
			return w
		}
	}
}

// While the init container lowers the limit in a loop, a collector on the node never
// meets a limit below the floor, and the init container gets no error.
func TestGuardHolds(t *testing.T) {
	holdKernel(t)
	installGuard(t, "hold")
	ns := node.Namespace(t, nil)
	pod := node.Create(t, lowers(ns, "while :; do echo 128 > $limit; done"))
	waitEvent(t, ns, pod.Name, "SysctlLowered", "container lower wrote a value below its floor to "+maxInstances+" of the node, and the guard kept the floor")

	limit, err := os.Open(keyFile(maxInstances))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = limit.Close() }()
	for range 200 { // with them, 128 refuses each further one
		fd, err := syscall.InotifyInit1(syscall.O_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = syscall.Close(fd) }()
	}
	before := heldWrites(t)
	text := make([]byte, 32)
	for i := range heldRounds {
		fd, err := syscall.InotifyInit1(syscall.O_CLOEXEC)
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		if err := syscall.Close(fd); err != nil {
			t.Fatal(err)
		}
		n, err := limit.ReadAt(text, 0)
		if got, _ := strconv.Atoi(strings.TrimSpace(string(text[:n]))); got < guardFloor {
			t.Fatalf("call %d: the limit is %q, %v", i, text[:n], err)
		}
	}
	held := heldWrites(t) - before
	t.Logf("%d calls of inotify_init1 and as many reads beside %.0f held writes", heldRounds, held)
	if held < 100 {
		t.Errorf("only %.0f writes were held meanwhile", held)
	}
	node.WaitPod(t, ns, pod.Name, "its init container goes on", func(p *corev1.Pod) bool {
		all := p.Status.InitContainerStatuses
		return len(all) == 1 && all[0].State.Running != nil && all[0].RestartCount == 0
	})
}

// heldWrites returns how many writes the agent's guard has held.
func heldWrites(t *testing.T) float64 {
	t.Helper()
	for line := range strings.Lines(metrics(t)) {
		if rest, ok := strings.CutPrefix(line, `nodetune_sysctl_writes_held_total{key="`+maxInstances+`"} `); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("the metrics count no held writes")
	return 0
}
