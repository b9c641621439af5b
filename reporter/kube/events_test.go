package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

func eventsOf(c *fake.Clientset) func(string) EventClient {
	return func(namespace string) EventClient { return c.CoreV1().Events(namespace) }
}

func runEvents(t *testing.T, c *fake.Clientset, uid func() types.UID) *Events {
	e := NewEvents(eventsOf(c), "n1", uid, []string{"Quiet"}, func(string, error) {})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		e.Run(ctx)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return e
}

func listEvents(t *testing.T, c *fake.Clientset, namespace string) []corev1.Event {
	t.Helper()
	l, err := c.CoreV1().Events(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Items
}

func known() types.UID { return "uid-1" }

func TestEventsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		e := runEvents(t, c, known)
		for range 60 {
			e.Record(e.OnNode(corev1.EventTypeWarning, "R", "m"), time.Now())
			time.Sleep(10 * time.Second)
		}
		e.Record(e.OnNode(corev1.EventTypeWarning, "Quiet", "m"), time.Now())
		time.Sleep(time.Hour)
		synctest.Wait()
		all := listEvents(t, c, "default")
		if len(all) != 1 || all[0].Count != 60 || all[0].InvolvedObject.UID != "uid-1" || all[0].Source.Host != "n1" {
			t.Fatalf("events %+v", all)
		}
		if got := all[0].LastTimestamp.Sub(all[0].FirstTimestamp.Time); got != 590*time.Second {
			t.Errorf("it lasted %s", got)
		}
		if got := len(c.Actions()) - 1; got > 7 {
			t.Errorf("%d requests in ten minutes for one event", got)
		}
		time.Sleep(time.Hour) // the API server has forgotten it
		e.Record(e.OnNode(corev1.EventTypeWarning, "R", "m"), time.Now())
		time.Sleep(time.Minute)
		if all := listEvents(t, c, "default"); len(all) != 2 {
			t.Errorf("%d events after two hours, want a new one", len(all))
		}
	})
}

func TestEventsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		e := runEvents(t, c, known)
		for i := range 1000 {
			e.Record(e.OnNode(corev1.EventTypeWarning, "R", fmt.Sprint(i)), time.Now())
		}
		time.Sleep(eventSpread)
		synctest.Wait()
		if got := len(listEvents(t, c, "default")); got < eventBurst || got > eventBurst+1 {
			t.Errorf("%d at once, want %d", got, eventBurst)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		// Events that were written while the others waited have made room.
		got := len(listEvents(t, c, "default"))
		if got < eventsRecent || got > eventsRecent+eventBurst {
			t.Errorf("%d in a day, want %d, or a few more", got, eventsRecent)
		}
		if s := e.Stats(); s.Dropped != uint64(1000-got) || s.Succeeded != uint64(got) {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestEventsOutliveTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		var refusal atomic.Pointer[error]
		answer := func(err error) { refusal.Store(&err) }
		answer(errors.New("connection refused"))
		c.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
			err := *refusal.Load()
			return err != nil, nil, err
		})
		var uid atomic.Pointer[types.UID]
		uid.Store(new(types.UID))
		e := runEvents(t, c, func() types.UID { return *uid.Load() })
		happened := time.Now()
		e.Record(e.OnNode(corev1.EventTypeWarning, "R", "m"), happened)
		time.Sleep(12 * time.Hour)
		if got := len(c.Actions()); got != 0 {
			t.Errorf("%d requests while the Node is not known", got)
		}
		id := known()
		uid.Store(&id)
		time.Sleep(12 * time.Hour)
		answer(nil)
		time.Sleep(lastRetry)
		synctest.Wait()
		all := listEvents(t, c, "default")
		if len(all) != 1 || !all[0].FirstTimestamp.Time.Equal(happened) {
			t.Errorf("events %+v", all)
		}

		answer(apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("no")))
		tries := len(c.Actions())
		e.Record(e.OnNode(corev1.EventTypeWarning, "R2", "m"), time.Now())
		time.Sleep(24 * time.Hour)
		if got := len(c.Actions()) - tries; got != 1 {
			t.Errorf("%d tries of what is forbidden", got)
		}
	})
}

// A flood of Events of workloads, with a pod for each or a process name for
// each, leaves the Node's own Events as quick as without it.
func TestWorkloadsDoNotStarveTheNode(t *testing.T) {
	for name, flood := range map[string]func(e *Events, i int) Event{
		"pods": func(_ *Events, i int) Event {
			return Event{Object: podReference("ns", fmt.Sprint("p", i), types.UID(fmt.Sprint(i))), Reason: "R", Message: "m"}
		},
		"pods without the right to write on them": func(e *Events, i int) Event {
			return e.OfPod(Event{Object: podReference("ns", fmt.Sprint("p", i), "uid"), Reason: "R", Message: "m"})
		},
		"units": func(e *Events, i int) Event {
			ev := e.OnNode(corev1.EventTypeWarning, InotifyRefused, fmt.Sprint("unit ", i))
			ev.FromWorkload = true
			return ev
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := fake.NewClientset()
				e := runEvents(t, c, known)
				for i := range 1000 {
					e.Record(flood(e, i), time.Now())
				}
				time.Sleep(time.Hour)
				e.Record(e.OnNode(corev1.EventTypeWarning, "SysctlDrift", "m"), time.Now())
				time.Sleep(eventSpread)
				synctest.Wait()
				if !slices.ContainsFunc(listEvents(t, c, "default"), func(ev corev1.Event) bool { return ev.Reason == "SysctlDrift" }) {
					t.Error("the Event of the Node was not written in time")
				}
				if got := len(e.workloads.recent); got > eventsRecent {
					t.Errorf("%d Events are kept in memory, want at most %d", got, eventsRecent)
				}
			})
		})
	}
}

// What a process chooses is in the text of the first Event and makes no second.
func TestDetailIsNoIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		e := runEvents(t, c, known)
		for i := range 200 {
			e.Record(Event{Object: podReference("ns", "p", "uid"), Reason: "R", Message: "m", Detail: fmt.Sprint("process ", i)}, time.Now())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if all := listEvents(t, c, "ns"); len(all) != 1 || all[0].Count != 200 || all[0].Message != "m (process 0)" {
			t.Errorf("events %+v", all)
		}
	})
}

// A cause that reaches every node of a cluster in the same second.
func TestEventsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := map[time.Time]int{}
		for range 500 {
			e := NewEvents(nil, "n1", known, nil, func(string, error) {})
			e.Record(e.OnNode(corev1.EventTypeNormal, ConfigurationReloaded, "m"), time.Now())
			_, at, _ := e.next(&e.node)
			first[at.Truncate(time.Second)]++
		}
		for at, n := range first {
			if n > 500/10 {
				t.Errorf("%d of 500 agents write in the second %v", n, at)
			}
		}
	})
}

func TestEventName(t *testing.T) {
	for _, object := range []string{"n1", strings.Repeat("a.", 126) + "b", strings.Repeat("a", 253)} {
		ev := Event{Object: corev1.ObjectReference{Name: object}}
		name := eventName(ev, reportertest.Noon)
		if wrong := validation.IsDNS1123Subdomain(name); wrong != nil {
			t.Errorf("%s: %s", name, wrong)
		}
		ev.Reason = "other"
		if name == eventName(ev, reportertest.Noon) {
			t.Errorf("two events are called %s", name)
		}
	}
}

func TestTransitionEvents(t *testing.T) {
	e := NewEvents(nil, "n1", known, nil, func(string, error) {})
	to := func(from, status corev1.ConditionStatus, reason string) condition.Transition {
		return condition.Transition{From: from, To: corev1.NodeCondition{Type: condition.SysctlDrift, Status: status, Reason: reason, Message: "128"}}
	}
	got := e.TransitionEvents([]condition.Transition{
		to("", "False", condition.FloorsInForce), to("False", "True", condition.ContestedByWriter), to("True", "False", condition.FloorsInForce), to("False", "Unknown", condition.PassStale),
	})
	want := []string{"Warning Contested", "Normal FloorsInForce", "Warning PassStale"}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i, ev := range got {
		if ev.Type+" "+ev.Reason != want[i] || strings.ContainsAny(ev.Message, "0123456789") || !strings.HasPrefix(ev.Message, "SysctlDrift: ") {
			t.Errorf("event %+v, want %s", ev, want[i])
		}
	}
}

// Who may not write Events hears of it once for each namespace, and again after
// it was allowed.
func TestEventsForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := fake.NewClientset()
		forbidden := true
		c.PrependReactor("create", "events", func(a clienttesting.Action) (bool, runtime.Object, error) {
			if !forbidden {
				return false, nil, nil
			}
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "", errors.New("no rule"))
		})
		var rejected []string
		e := NewEvents(eventsOf(c), "n1", known, nil, func(namespace string, err error) {
			rejected = append(rejected, namespace)
			if !strings.Contains(err.Error(), "no rule") {
				t.Errorf("the reason is lost: %v", err)
			}
		})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go e.Run(ctx)
		say := func() {
			for _, reason := range []string{"A", "B"} {
				pod := Event{Object: podReference("logging", "p", "uid"), Type: corev1.EventTypeNormal, Reason: reason, Message: "m"}
				e.Record(pod, time.Now())
				e.Record(e.OfPod(pod), time.Now())
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			slices.Sort(rejected)
		}
		say()
		if !slices.Equal(rejected, []string{"default", "logging"}) {
			t.Fatalf("reported rejections in %q", rejected)
		}
		forbidden = false
		say()
		if all := listEvents(t, c, "default"); len(all) != 2 || all[0].InvolvedObject.Kind != "Node" || all[0].Message != "pod logging/p: m" {
			t.Errorf("on the Node %+v", all)
		}
		forbidden = true
		time.Sleep(2 * time.Hour)
		say()
		if len(rejected) != 4 {
			t.Errorf("reported rejections in %q", rejected)
		}
	})
}
