package kube

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/nodetune/nodetune/reporter/condition"
)

// cluster is client-go's own imitation of an API server, with the real merge
// and managedFields code. e2e asks a real one the same questions.
type cluster struct {
	*fake.Clientset
	mu      sync.Mutex
	patches []time.Time
	answer  error // of the next patches; nil: do it
	unseen  error // of the next lists and watches
	asked   int   // for these
	watches []watch.Interface
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{Clientset: fake.NewClientset()}
	c.PrependReactor("patch", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.patches = append(c.patches, time.Now())
		return c.answer != nil, nil, c.answer
	})
	c.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		return c.unseen != nil, nil, c.unseen
	})
	c.PrependWatchReactor("nodes", func(action clienttesting.Action) (bool, watch.Interface, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.asked++
		if c.unseen != nil {
			return true, nil, c.unseen
		}
		w, err := c.Tracker().Watch(action.GetResource(), action.GetNamespace())
		c.watches = append(c.watches, w)
		return true, w, err
	})
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}
	_, err := c.CoreV1().Nodes().Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "uid-1"},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "a", Effect: "NoSchedule"}, {Key: StartupTaint, Effect: "NoSchedule"}}},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{ready}},
	}, metav1.CreateOptions{FieldManager: "kubelet"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) fail(err error) {
	c.mu.Lock()
	c.answer = err
	c.mu.Unlock()
}

func (c *cluster) count() int { return len(c.patched()) }

// patched is when the patches came.
func (c *cluster) patched() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.patches)
}

// looked is how many lists and watches were asked for.
func (c *cluster) looked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func (c *cluster) conditions(t *testing.T) map[corev1.NodeConditionType]corev1.NodeCondition {
	t.Helper()
	n, err := c.CoreV1().Nodes().Get(context.Background(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[corev1.NodeConditionType]corev1.NodeCondition)
	for _, c := range n.Status.Conditions {
		all[c.Type] = c
	}
	return all
}

func (c *cluster) taints(t *testing.T) (keys []string) {
	t.Helper()
	n, err := c.CoreV1().Nodes().Get(context.Background(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, taint := range n.Spec.Taints {
		keys = append(keys, taint.Key)
	}
	return keys
}

// write is a strategic merge patch of the status by another manager.
func (c *cluster) write(t *testing.T, manager, body string) {
	t.Helper()
	_, err := c.CoreV1().Nodes().Patch(context.Background(), "n1", types.StrategicMergePatchType, []byte(body),
		metav1.PatchOptions{FieldManager: manager}, "status")
	if err != nil {
		t.Fatal(err)
	}
}

// speak starts a Node for n1; stop ends it.
func (c *cluster) speak(hooks Hooks) (n *Publisher, stop func()) {
	n = NewPublisher(c.CoreV1().Nodes(), "n1", condition.DefaultPolicy(), hooks)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		n.Run(ctx)
		close(ended)
	}()
	synctest.Wait()
	return n, func() {
		cancel()
		<-ended
	}
}

// say gives n one verdict for each type and lets d pass.
func say(n *Publisher, level condition.Severity, reason, message string, d time.Duration, all ...corev1.NodeConditionType) {
	var seen []condition.Evaluation
	for _, t := range all {
		seen = append(seen, condition.Evaluation{Type: t, Severity: level, At: time.Now(), Reason: reason, Message: message})
	}
	n.Update(seen, time.Now())
	time.Sleep(d)
	synctest.Wait()
}

func TestNodeWritesOnlyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, stop := c.speak(Hooks{})
		defer stop()
		time.Sleep(time.Hour)
		if got := c.count(); got != 0 {
			t.Fatalf("%d writes before anything was evaluated", got)
		}
		say(n, condition.Unevaluated, "", "", time.Hour, condition.InotifyPressure)
		if got := c.count(); got != 0 {
			t.Fatalf("%d writes for what is not evaluated", got)
		}
		for range 60 {
			say(n, condition.Clear, condition.SufficientInotify, "fine", time.Minute, condition.InotifyPressure)
		}
		if got := c.count(); got != 1 {
			t.Errorf("%d writes for 60 equal passes, want 1", got)
		}
		is := c.conditions(t)
		if got := is[condition.InotifyPressure]; got.Status != "False" || got.Reason != condition.SufficientInotify || got.LastTransitionTime.IsZero() {
			t.Errorf("condition %+v", got)
		}
		if is[corev1.NodeReady].Reason != "KubeletReady" {
			t.Errorf("the kubelet's condition is now %+v", is[corev1.NodeReady])
		}

		// A status is written within debounce and jitter.
		say(n, condition.Bad, condition.InstancesNearLimit, "110 of 128", 30*time.Second, condition.InotifyPressure)
		began := time.Now()
		say(n, condition.Bad, condition.InstancesNearLimit, "111 of 128", 8*time.Second, condition.InotifyPressure)
		if got := c.conditions(t)[condition.InotifyPressure]; got.Status != "True" || got.Message != "111 of 128" {
			t.Errorf("condition %+v", got)
		}
		if took := c.patched()[1].Sub(began); took < 2*time.Second || took > 7*time.Second {
			t.Errorf("written after %s, want 2s to 7s", took)
		}
		// Words alone, every five minutes.
		for range 30 {
			say(n, condition.Bad, condition.InstancesNearLimit, time.Now().String(), time.Minute, condition.InotifyPressure)
		}
		if got := c.count(); got < 7 || got > 8 {
			t.Errorf("%d writes after half an hour of new words, want 2 and one for every 5 minutes", got)
		}
		if s := n.Stats(); s.Succeeded != uint64(c.count()) || s.Failed != 0 || s.Skipped == 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestNodeRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, stop := c.speak(Hooks{})
		for range 3 {
			say(n, condition.Bad, condition.InstancesNearLimit, "full", time.Minute, condition.InotifyPressure)
		}
		stop()
		was, writes := c.conditions(t)[condition.InotifyPressure], c.count()
		time.Sleep(24 * time.Hour)

		n, stop = c.speak(Hooks{})
		defer stop()
		say(n, condition.Unevaluated, "", "", time.Hour, condition.InotifyPressure)
		for range 4 { // five clear passes would end it
			say(n, condition.Clear, condition.SufficientInotify, "fine", time.Minute, condition.InotifyPressure)
		}
		if got := c.conditions(t)[condition.InotifyPressure]; got != was || c.count() != writes {
			t.Errorf("after a restart %+v with %d writes, want %+v with %d", got, c.count(), was, writes)
		}
		say(n, condition.Clear, condition.SufficientInotify, "fine", time.Minute, condition.InotifyPressure)
		if got := c.conditions(t)[condition.InotifyPressure]; got.Status != "False" || got.LastTransitionTime == was.LastTransitionTime {
			t.Errorf("after five clear passes %+v", got)
		}
	})
}

func TestNodeRemovesWhatIsNoLongerConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, stop := c.speak(Hooks{})
		say(n, condition.Clear, "R", "m", time.Minute, condition.InotifyPressure, condition.SysctlDrift)
		if got := c.conditions(t); len(got) != 3 {
			t.Fatalf("conditions %v", got)
		}
		stop()
		n, stop = c.speak(Hooks{})
		defer stop()
		say(n, condition.Clear, "R", "m", time.Minute, condition.SysctlDrift)
		got := c.conditions(t)
		if _, left := got[condition.InotifyPressure]; left || len(got) != 2 {
			t.Errorf("conditions %v", got)
		}
		p := condition.DefaultPolicy()
		p.Types = nil
		n.Reconfigure(p)
		say(n, condition.Clear, "R", "m", time.Minute, condition.SysctlDrift)
		if got := c.conditions(t); len(got) != 1 {
			t.Errorf("conditions %v", got)
		}
	})
}

func TestNodeLeavesForeignConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.write(t, "npd-plus", `{"status":{"conditions":[{"type":"FileDescriptorPressure","status":"Unknown","reason":"Theirs"}]}}`)
		writes := c.count()
		var foreign []string
		n, stop := c.speak(Hooks{Foreign: func(t corev1.NodeConditionType, managers []string) {
			foreign = append(foreign, string(t)+" "+strings.Join(managers, ","))
		}})
		defer stop()
		for range 10 {
			say(n, condition.Clear, "R", "m", time.Minute, condition.FileDescriptorPressure)
		}
		if got := c.conditions(t)[condition.FileDescriptorPressure]; got.Reason != "Theirs" || c.count() != writes {
			t.Errorf("%+v after %d writes", got, c.count()-writes)
		}
		if !slices.Equal(foreign, []string{"FileDescriptorPressure npd-plus"}) {
			t.Errorf("reported foreign conditions %q", foreign)
		}
		say(n, condition.Clear, "R", "m", time.Minute, condition.InotifyPressure) // and theirs is not removed either
		if got := c.conditions(t); len(got) != 3 {
			t.Errorf("conditions %v", got)
		}
	})
}

func TestNodeAssertsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, stop := c.speak(Hooks{})
		defer stop()
		say(n, condition.Clear, "R", "m", time.Minute, condition.SysctlDrift)
		before, theirs := c.count(), 0
		for range 360 { // another manager overwrites it at once, for an hour
			if c.conditions(t)[condition.SysctlDrift].Status == "False" {
				c.write(t, "kubectl-edit", `{"status":{"conditions":[{"type":"SysctlDrift","status":"True"}]}}`)
				theirs++
			}
			time.Sleep(10 * time.Second)
		}
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := c.conditions(t)[condition.SysctlDrift]; got.Status != "False" {
			t.Errorf("condition %+v", got)
		}
		if ours := c.count() - before - theirs; ours < 5 || ours > 30 {
			t.Errorf("%d writes in an hour against another writer, want a few that slow down", ours)
		}
	})
}

func TestNodeRetries(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "n1", errors.New("no"))
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Node"}, "n1", nil)
	for _, tt := range []struct {
		name     string
		err      error
		min, max int // attempts in a day
		again    bool
	}{
		{"away", errors.New("connection refused"), 280, 620, true},
		{"unauthorized", apierrors.NewUnauthorized("expired"), 280, 620, true},
		{"forbidden", forbidden, 1, 1, false},
		{"invalid", invalid, 1, 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.fail(tt.err)
				n, stop := c.speak(Hooks{Wrote: func(w Write) {
					if w.Err != nil && w.Retry != tt.again {
						t.Errorf("reported Retry %t", w.Retry)
					}
				}})
				defer stop()
				for range 24 * 60 {
					say(n, condition.Clear, "R", "m", time.Minute, condition.SysctlDrift)
				}
				if got := c.count(); got < tt.min || got > tt.max {
					t.Errorf("%d attempts in a day, want %d to %d", got, tt.min, tt.max)
				}
				c.fail(nil)
				if tt.again {
					time.Sleep(lastRetry)
				} else { // something new to say is a reason to try
					say(n, condition.Bad, "R2", "m", time.Minute, condition.SysctlDrift)
					say(n, condition.Bad, "R2", "m", time.Minute, condition.SysctlDrift)
				}
				synctest.Wait()
				if got := c.conditions(t)[condition.SysctlDrift]; got.Status == "" {
					t.Error("nothing was written when the API server was back")
				}
			})
		})
	}
}

// away makes the API server answer nothing but err, until the call of back.
func (c *cluster) away(err error) (back func()) {
	c.fail(err)
	c.mu.Lock()
	c.unseen = err
	for _, w := range c.watches {
		w.Stop()
	}
	c.mu.Unlock()
	return func() {
		c.fail(nil)
		c.mu.Lock()
		c.unseen = nil
		c.mu.Unlock()
	}
}

// Ten minutes without an API server: its first answer is a reason to write,
// whether the watch begins with a new list or goes on where it was.
func TestNodeBackAgain(t *testing.T) {
	// One of them waits for a millisecond after the process has started, which
	// is decades ahead of a bubble's clock.
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil
	t.Cleanup(func() { utilruntime.ErrorHandlers = handlers })
	for name, err := range map[string]error{
		"refused": &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"silent":  context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				n, stop := c.speak(Hooks{})
				defer stop()
				say(n, condition.Clear, "R", "m", time.Hour, condition.SysctlDrift)
				back := c.away(err)
				n.RemoveStartupTaint()
				for range 20 {
					say(n, condition.Bad, "R2", "m", 30*time.Second, condition.SysctlDrift)
				}
				asked := c.looked()
				time.Sleep(time.Hour)
				synctest.Wait()
				if asked = c.looked() - asked; asked < 360 || asked > 720 {
					t.Errorf("asked %d times in an hour away, want every 5 to 10 s", asked)
				}
				back()
				p := condition.DefaultPolicy()
				time.Sleep(4*awayRetry.Cap + p.Debounce.D() + backSpread)
				synctest.Wait()
				if got := c.conditions(t)[condition.SysctlDrift]; got.Status != "True" {
					t.Errorf("the API server is back, and has %+v", got)
				}
				if got := c.taints(t); !slices.Equal(got, []string{"a"}) {
					t.Errorf("the API server is back, and the node has the taints %q", got)
				}
			})
		})
	}
}

// An API server of which only the connection is accepted: client-go returns an
// empty watch without an error. That is no answer, and no reason to write again
// before the back-off says so.
func TestAnEmptyWatchIsNoAnswer(t *testing.T) {
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil
	t.Cleanup(func() { utilruntime.ErrorHandlers = handlers })
	for _, tt := range []struct {
		name  string
		lists bool // lists are answered
		away  int  // how often an outage is reported
	}{{"nothing is answered", false, 1}, {"lists are answered, writes are not", true, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				empty := false
				c.PrependWatchReactor("nodes", func(clienttesting.Action) (bool, watch.Interface, error) {
					c.mu.Lock()
					defer c.mu.Unlock()
					return empty, watch.NewEmptyWatch(), nil
				})
				var reached []error
				n, stop := c.speak(Hooks{Reached: func(err error) { reached = append(reached, err) }})
				defer stop()
				say(n, condition.Clear, "R", "m", time.Hour, condition.SysctlDrift)
				back := c.away(errors.New("unexpected EOF"))
				c.mu.Lock()
				empty = true
				if tt.lists {
					c.unseen = nil
				}
				c.mu.Unlock()
				before := c.count()
				for range 480 {
					say(n, condition.Bad, "R2", "m", 30*time.Second, condition.SysctlDrift)
				}
				if got := c.count() - before; got > 100 || got < 20 {
					t.Errorf("%d PATCHes in four hours, want the back-off's 50 to 100", got)
				}
				if len(reached) != tt.away {
					t.Errorf("outages reported: %v, want %d", reached, tt.away)
				}
				c.mu.Lock()
				empty = false
				c.mu.Unlock()
				back()
				time.Sleep(lastRetry)
				synctest.Wait()
				if got := c.conditions(t)[condition.SysctlDrift]; got.Status != "True" {
					t.Errorf("the API server is back, and has %+v", got)
				}
			})
		})
	}
}

func TestNodeHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, stop := c.speak(Hooks{})
		defer stop()
		p := condition.DefaultPolicy()
		p.Heartbeat = p.MessageEvery
		n.Reconfigure(p)
		for range 100 {
			say(n, condition.Clear, "R", "m", time.Minute, condition.SysctlDrift)
		}
		if got := c.count(); got < 100/6 || got > 100/4+1 {
			t.Errorf("%d writes in 100 minutes with a heartbeat of 5", got)
		}
		since := c.conditions(t)[condition.SysctlDrift]
		if since.LastHeartbeatTime == since.LastTransitionTime {
			t.Error("a heartbeat moved lastTransitionTime, or none was written")
		}
	})
}

func TestNodeComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, stop := c.speak(Hooks{})
		defer stop()
		say(n, condition.Clear, "R", "m", time.Minute, condition.SysctlDrift)
		if n.UID() != "uid-1" {
			t.Errorf("uid %q", n.UID())
		}
		nodes := c.CoreV1().Nodes()
		if err := nodes.Delete(t.Context(), "n1", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		say(n, condition.Clear, "R", "m", time.Hour, condition.SysctlDrift)
		if _, err := nodes.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "uid-2"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		say(n, condition.Clear, "R", "m", time.Minute, condition.SysctlDrift)
		if got := c.conditions(t)[condition.SysctlDrift]; got.Status != "False" || n.UID() != "uid-2" {
			t.Errorf("condition %+v of %s", got, n.UID())
		}
	})
}

func TestNodeGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		n, stop := c.speak(Hooks{})
		defer stop()
		time.Sleep(time.Minute)
		if got := c.taints(t); len(got) != 2 {
			t.Errorf("taints %q before the floors hold", got)
		}
		n.RemoveStartupTaint()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := c.taints(t); !slices.Equal(got, []string{"a"}) {
			t.Errorf("taints %q", got)
		}
	})
}
