package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/util/retry"

	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/kube"
)

// A kubelet and nodetune write to one Node at the same time, a thousand times
// each. The watch sees every version of the Node: in none of them has either
// lost a word.
func TestThousandInterleavedWrites(t *testing.T) {
	const writes = 1000
	n := makeNode(t, "interleaved")
	client := server.Client.CoreV1().Nodes()
	watcher, err := client.Watch(t.Context(), metav1.ListOptions{
		FieldSelector: "metadata.name=" + n.Name, ResourceVersion: n.ResourceVersion,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{})

	var both sync.WaitGroup
	both.Go(func() {
		for i := 1; i <= writes; i++ {
			if err := heartbeat(n.Name, i); err != nil {
				t.Errorf("kubelet: %v", err)
				return
			}
		}
	})
	both.Go(func() {
		for i := 1; i <= writes; i++ {
			level, reason := condition.Clear, condition.SufficientInotify
			if i%2 == 0 {
				level, reason = condition.Bad, condition.InstancesNearLimit
			}
			s.say(level, reason, strconv.Itoa(i), condition.InotifyPressure)
			for s.Stats().Succeeded < uint64(i) {
				if s.Stats().Failed > 0 || t.Context().Err() != nil {
					t.Errorf("write %d failed", i)
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
	})
	finished := make(chan struct{})
	go func() {
		both.Wait()
		close(finished)
	}()

	last := map[corev1.NodeConditionType]int{corev1.NodeReady: 0, condition.InotifyPressure: 0}
	versions, switched := 0, 0
	var before corev1.NodeConditionType
	patience := time.After(5 * time.Minute)
	for last[corev1.NodeReady] < writes || last[condition.InotifyPressure] < writes {
		select {
		case <-patience:
			t.Fatalf("after %d versions: %v of %d", versions, last, writes)
		case e, ok := <-watcher.ResultChan():
			node, isNode := e.Object.(*corev1.Node)
			if !ok || !isNode {
				t.Fatalf("the watch ended: %+v", e)
			}
			versions++
			for _, c := range node.Status.Conditions {
				was, counted := last[c.Type]
				if !counted {
					continue
				}
				is, err := strconv.Atoi(c.Message)
				if err != nil || is < was || is > was+1 {
					t.Fatalf("version %d: %s went from %d to %q", versions, c.Type, was, c.Message)
				}
				if is != was {
					if before != c.Type {
						switched++
					}
					before = c.Type
				}
				last[c.Type] = is
			}
			if len(node.Status.Conditions) < 2 {
				t.Fatalf("version %d has only %d conditions", versions, len(node.Status.Conditions))
			}
		}
	}
	<-finished
	t.Logf("%d versions, the writer changed %d times", versions, switched)
	if switched < writes/10 {
		t.Errorf("the writes were not interleaved: the writer changed %d times", switched)
	}
}

// heartbeat writes Ready as the kubelet does: the difference between the Node it
// read and the one it wants, as a strategic merge patch.
func heartbeat(name string, i int) error {
	client := server.Client.CoreV1().Nodes()
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		was, err := client.Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want := was.DeepCopy()
		for j := range want.Status.Conditions {
			if c := &want.Status.Conditions[j]; c.Type == corev1.NodeReady {
				c.Message, c.LastHeartbeatTime = strconv.Itoa(i), metav1.Now()
			}
		}
		from, err := json.Marshal(was)
		if err != nil {
			return err
		}
		to, err := json.Marshal(want)
		if err != nil {
			return err
		}
		body, err := strategicpatch.CreateTwoWayMergePatch(from, to, corev1.Node{})
		if err != nil {
			return err
		}
		_, err = client.Patch(context.Background(), name, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: "kubelet"}, "status")
		return err
	})
}

func TestRestartAdopts(t *testing.T) {
	n := makeNode(t, "restart")
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{})
	s.say(condition.Bad, condition.InstancesNearLimit, "full", condition.InotifyPressure, condition.SysctlDrift)
	wait(t, "written", func() bool { return len(conditions(t, n.Name)) == 4 })
	s.stop()
	was := conditions(t, n.Name)
	time.Sleep(1100 * time.Millisecond) // a new time stamp would differ

	p := prompt()
	p.LeavePasses = 5
	s = speak(t, n.Name, nil, p, kube.Hooks{})
	wait(t, "seen", func() bool { return s.UID() == n.UID })
	s.say(condition.Unevaluated, "", "", condition.InotifyPressure, condition.SysctlDrift)
	for range 4 {
		time.Sleep(200 * time.Millisecond)
		s.say(condition.Clear, condition.SufficientInotify, "fine", condition.InotifyPressure, condition.SysctlDrift)
	}
	time.Sleep(200 * time.Millisecond)
	if got := conditions(t, n.Name); got[condition.InotifyPressure] != was[condition.InotifyPressure] || s.patches.Load() != 0 {
		t.Errorf("%d writes, condition %+v, was %+v", s.patches.Load(), got[condition.InotifyPressure], was[condition.InotifyPressure])
	}
	s.say(condition.Clear, condition.SufficientInotify, "fine", condition.InotifyPressure, condition.SysctlDrift)
	wait(t, "left after the fifth", func() bool { return conditions(t, n.Name)[condition.InotifyPressure].Status == "False" })
}

func TestRemovesWhatIsNoLongerEvaluated(t *testing.T) {
	n := makeNode(t, "remove")
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{})
	s.say(condition.Clear, "R", "m", condition.InotifyPressure, condition.SysctlDrift)
	wait(t, "written", func() bool { return len(conditions(t, n.Name)) == 4 })
	s.stop()
	s = speak(t, n.Name, nil, prompt(), kube.Hooks{})
	s.say(condition.Clear, "R", "m", condition.SysctlDrift)
	wait(t, "removed", func() bool { return len(conditions(t, n.Name)) == 3 })
	got := conditions(t, n.Name)
	if got[condition.SysctlDrift].Status != "False" || got[corev1.NodeReady].Reason != "KubeletReady" {
		t.Errorf("conditions %+v", got)
	}
}

func TestForeignOwnerIsLeftAlone(t *testing.T) {
	n := makeNode(t, "foreign")
	patch(t, n.Name, "npd-plus", `{"status":{"conditions":[{"type":"FileDescriptorPressure","status":"Unknown","reason":"Theirs"}]}}`)
	told := make(chan []string, 10)
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{
		Foreign: func(_ corev1.NodeConditionType, managers []string) { told <- managers },
	})
	s.say(condition.Clear, "R", "m", condition.FileDescriptorPressure, condition.SysctlDrift)
	wait(t, "ours is written", func() bool { return conditions(t, n.Name)[condition.SysctlDrift].Status == "False" })
	if got := conditions(t, n.Name)[condition.FileDescriptorPressure]; got.Reason != "Theirs" {
		t.Fatalf("condition %+v", got)
	}
	if managers := <-told; !slices.Equal(managers, []string{"npd-plus"}) {
		t.Errorf("told of %q", managers)
	}
	// Nor is it removed when nodetune ends.
	if _, err := kube.CleanupAll(t.Context(), server.Client.CoreV1().Nodes(), false); err != nil {
		t.Fatal(err)
	}
	if got := conditions(t, n.Name)[condition.FileDescriptorPressure]; got.Reason != "Theirs" {
		t.Errorf("after cleanup: %+v", got)
	}
}

func TestOverwrittenIsWrittenAgain(t *testing.T) {
	n := makeNode(t, "overwritten")
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{})
	s.say(condition.Bad, condition.ContestedByWriter, "m", condition.SysctlDrift)
	wait(t, "written", func() bool { return conditions(t, n.Name)[condition.SysctlDrift].Status == "True" })
	since := conditions(t, n.Name)[condition.SysctlDrift].LastTransitionTime
	for _, body := range []string{
		`{"status":{"conditions":[{"type":"SysctlDrift","status":"False","reason":"Hidden"}]}}`,
		`{"status":{"conditions":[{"$patch":"delete","type":"SysctlDrift"}]}}`,
	} {
		patch(t, n.Name, "kubectl-edit", body)
		wait(t, "written again", func() bool { return conditions(t, n.Name)[condition.SysctlDrift].Status == "True" })
	}
	if got := conditions(t, n.Name)[condition.SysctlDrift]; got.LastTransitionTime != since {
		t.Errorf("since %s, was %s", got.LastTransitionTime, since)
	}
}

// The API server is stopped for two minutes: what is wanted then is on the Node
// soon after it is back, and it was not asked all the time.
func TestServerAway(t *testing.T) {
	n := makeNode(t, "away")
	reached := make(chan error, 100)
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{Reached: func(err error) { reached <- err }})
	s.say(condition.Clear, condition.FloorsInForce, "m", condition.SysctlDrift)
	wait(t, "written", func() bool { return len(conditions(t, n.Name)) == 3 })
	was := s.patches.Load()
	server.Server.Stop()
	for range 24 {
		s.say(condition.Bad, condition.ContestedByWriter, "m", condition.SysctlDrift)
		time.Sleep(5 * time.Second)
	}
	if tries := s.patches.Load() - was; tries < 3 || tries > 20 {
		t.Errorf("%d tries in two minutes", tries)
	}
	if err := server.Server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	wait(t, "written when it is back", func() bool { return conditions(t, n.Name)[condition.SysctlDrift].Status == "True" })
	t.Logf("written %s after the API server was ready again", time.Since(back).Round(time.Millisecond))
	if err := <-reached; err == nil {
		t.Error("it was not told that the API server is away")
	}
}

func TestCleanup(t *testing.T) {
	var names []string
	for i := range 3 {
		n := makeNode(t, fmt.Sprintf("cleanup-%d", i))
		names = append(names, n.Name)
		s := speak(t, n.Name, nil, prompt(), kube.Hooks{})
		s.say(condition.Bad, condition.InstancesNearLimit, "m", condition.InotifyPressure, condition.SysctlDrift)
		wait(t, "written", func() bool { return len(conditions(t, n.Name)) == 4 })
		s.stop()
	}
	nodes := server.Client.CoreV1().Nodes()
	c, err := kube.Cleanup(t.Context(), nodes, names[0], false)
	if err != nil || len(c.Removed) != 2 {
		t.Errorf("cleaned %+v: %v", c, err)
	}
	all, err := kube.CleanupAll(t.Context(), nodes, false)
	if err != nil || len(all) < 2 {
		t.Errorf("cleaned %+v: %v", all, err)
	}
	for _, name := range names {
		got := conditions(t, name)
		if len(got) != 2 || got[corev1.NodeReady].Reason != "KubeletReady" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if all, err := kube.CleanupAll(t.Context(), nodes, false); err != nil || len(all) != 0 {
		t.Errorf("a second time: %+v %v", all, err)
	}
}

func TestGate(t *testing.T) {
	n := makeNode(t, "gate")
	nodes := server.Client.CoreV1().Nodes()
	taints := func() (keys []string) {
		got, err := nodes.Get(t.Context(), n.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, taint := range got.Spec.Taints {
			keys = append(keys, taint.Key)
		}
		return keys
	}
	body := `{"spec":{"taints":[{"key":"a","effect":"NoSchedule"},{"key":"` + kube.StartupTaint + `","effect":"NoSchedule"},{"key":"b","effect":"NoExecute"}]}}`
	if _, err := nodes.Patch(t.Context(), n.Name, types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{})
	wait(t, "seen", func() bool { return s.UID() != "" })
	if got := taints(); !slices.Contains(got, kube.StartupTaint) {
		t.Errorf("the gate is open before the floors hold: %q", got)
	}
	s.RemoveStartupTaint()
	wait(t, "the gate is open", func() bool { return !slices.Contains(taints(), kube.StartupTaint) })
	if got := taints(); !slices.Contains(got, "a") || !slices.Contains(got, "b") {
		t.Errorf("the taints of others are now %q", got)
	}
}

func TestEvents(t *testing.T) {
	n := makeNode(t, "events")
	s := speak(t, n.Name, nil, prompt(), kube.Hooks{})
	client, err := kube.NewClient(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	e := kube.NewEvents(client.Events, n.Name, s.UID, nil, func(string, error) {})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go e.Run(ctx)
	for range 3 {
		e.Record(e.OnNode(corev1.EventTypeWarning, condition.InstancesNearLimit, "m"), time.Now())
	}
	pod := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "default", Name: "p", UID: "pod-uid"}
	e.Record(kube.Event{Object: pod, Type: corev1.EventTypeWarning, Reason: "DemandInvalid", Message: "m"}, time.Now())
	var all []corev1.Event
	wait(t, "events", func() bool {
		l, err := server.Client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "reportingComponent=nodetune"})
		if err != nil {
			t.Fatal(err)
		}
		all = slices.DeleteFunc(l.Items, func(e corev1.Event) bool { return e.Source.Host != n.Name })
		return len(all) == 2
	})
	for _, e := range all {
		if e.InvolvedObject.Kind == "Node" && (e.InvolvedObject.UID != n.UID || e.Count != 3) {
			t.Errorf("event %+v", e)
		}
	}
}
