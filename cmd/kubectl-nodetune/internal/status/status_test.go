package status

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/cmd/kubectl-nodetune/internal/cluster"
)

func daemonSet(desired, ready, updated int32) appsv1.DaemonSet {
	d := appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "nodetune", Name: "nodetune", Generation: 2}}
	d.Status = appsv1.DaemonSetStatus{ObservedGeneration: 2, DesiredNumberScheduled: desired, NumberReady: ready, UpdatedNumberScheduled: updated}
	return d
}

func agentOn(node, digest string) cluster.Agent {
	a := cluster.Agent{Pod: types.NamespacedName{Namespace: "nodetune", Name: "nodetune-" + node}, Node: node, Container: "nodetune"}
	a.Object.Status.Phase = corev1.PodRunning
	a.Object.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "nodetune", Image: "nodetune:latest", ImageID: digest}}
	return a
}

func nodeWith(name string, status corev1.ConditionStatus) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if status != "" {
		n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: "SysctlDrift", Status: status, Reason: "R"})
		n.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "nodetune", FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:conditions":{"k:{\"type\":\"SysctlDrift\"}":{".":{}}}}}`)}}
	}
	return n
}

func TestJudge(t *testing.T) {
	waits := agentOn("w2", "")
	waits.Object.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}
	unseen := daemonSet(2, 2, 2)
	unseen.Generation = 3
	gated := nodeWith("w2", "False")
	gated.Spec.Taints = []corev1.Taint{{Key: "nodetune.io/not-ready", Effect: corev1.TaintEffectNoSchedule}}
	build := func(v1, v2 string) map[string]cluster.Build {
		return map[string]cluster.Build{"w1": {Version: v1}, "w2": {Version: v2}}
	}
	for _, tt := range []struct {
		name                     string
		set                      appsv1.DaemonSet
		second                   cluster.Agent
		builds                   map[string]cluster.Build
		node                     corev1.Node
		healthy                  bool
		problems, drift, unknown []string
		verdict                  string
	}{
		{"fine", daemonSet(2, 2, 2), agentOn("w2", "a"), build("v1", "v1"), nodeWith("w2", "False"), true, nil, nil, nil, "healthy: 2 desired, 2 ready, 2 updated; version v1; 0 problems, 0 differences, 0 unknown"},
		{"one is not ready", daemonSet(2, 1, 2), agentOn("w2", "a"), build("v1", "v1"), nodeWith("w2", "False"), false, []string{"1 of 2 pods of nodetune/nodetune are not ready"}, nil, nil, "trouble: 2 desired, 1 ready"},
		{"a rollout", daemonSet(2, 2, 1), agentOn("w2", "a"), build("v1", "v1"), nodeWith("w2", "False"), false, []string{"1 of 2 pods of nodetune/nodetune run an older template"}, nil, nil, "trouble"},
		{"no pod is wanted", daemonSet(0, 0, 0), agentOn("w2", "a"), build("v1", "v1"), nodeWith("w2", "False"), false, []string{"wants no pod"}, nil, nil, "trouble"},
		{"a change was not seen", unseen, agentOn("w2", "a"), build("v1", "v1"), nodeWith("w2", "False"), false, []string{"has not seen the newest change"}, nil, nil, "trouble"},
		{"versions differ", daemonSet(2, 2, 2), agentOn("w2", "a"), build("v1", "v2"), nodeWith("w2", "False"), false, nil, []string{"version: v1 on w1, v2 on w2"}, nil, "drift: 2 desired"},
		{"one tag, two images", daemonSet(2, 2, 2), agentOn("w2", "b"), build("v1", "v1"), nodeWith("w2", "False"), false, nil, []string{"image nodetune:latest: a on w1, b on w2"}, nil, "drift"},
		{"a condition", daemonSet(2, 2, 2), agentOn("w2", "a"), build("v1", "v1"), nodeWith("w2", "True"), false, []string{"node w2: SysctlDrift (R)"}, nil, nil, "trouble"},
		{"a silent node", daemonSet(2, 2, 2), agentOn("w2", "a"), build("v1", "v1"), nodeWith("w2", ""), true, nil, nil, []string{"node w2: no condition of nodetune"}, "healthy as far as is known"},
		{"a node without an agent", daemonSet(2, 2, 2), agentOn("w2", "a"), build("v1", "v1"), nodeWith("fargate", ""), true, nil, nil, nil, "healthy: "},
		{"a version that is not known", daemonSet(2, 2, 2), agentOn("w2", "a"), map[string]cluster.Build{"w1": {Version: "v1"}, "w2": {Error: "refused"}}, nodeWith("w2", "False"), true, nil, nil, []string{"version of the agent on w2: refused"}, "healthy as far as is known"},
		{"a refused configuration", daemonSet(2, 2, 2), agentOn("w2", "a"), map[string]cluster.Build{"w1": {Version: "v1"}, "w2": {Version: "v1", ConfigRefused: true}}, nodeWith("w2", "False"), false, []string{"agent on w2 refuses the configuration file"}, nil, nil, "trouble"},
		{"an image that does not come", daemonSet(2, 1, 2), waits, map[string]cluster.Build{"w1": {Version: "v1"}}, nodeWith("w2", "False"), false, []string{"1 of 2 pods", "waits: ImagePullBackOff"}, nil, nil, "trouble"},
		{"the startup gate", daemonSet(2, 2, 2), agentOn("w2", "a"), build("v1", "v1"), gated, false, []string{"node w2: the startup gate is closed"}, nil, nil, "trouble"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Judge(Seen{
				DaemonSets: []appsv1.DaemonSet{tt.set}, Agents: []cluster.Agent{agentOn("w1", "a"), tt.second},
				Builds: tt.builds, Nodes: []corev1.Node{nodeWith("w1", "False"), tt.node},
			})
			if s.Healthy != tt.healthy || !strings.HasPrefix(s.Verdict, tt.verdict) {
				t.Errorf("healthy %t: %s", s.Healthy, s.Verdict)
			}
			for _, list := range []struct {
				name      string
				got, want []string
			}{{"problems", s.Problems, tt.problems}, {"drift", s.Drift, tt.drift}, {"unknown", s.Unknown, tt.unknown}} {
				same := len(list.got) == len(list.want)
				for _, want := range list.want {
					same = same && slices.ContainsFunc(list.got, func(got string) bool { return strings.Contains(got, want) })
				}
				if !same {
					t.Errorf("%s: got %q, want %q", list.name, list.got, list.want)
				}
			}
			var table strings.Builder
			if err := s.Table(&table); err != nil || !strings.HasPrefix(table.String(), s.Verdict+"\n") {
				t.Errorf("%v: %s", err, &table)
			}
		})
	}
}

func TestTableIsBoundedAndSafe(t *testing.T) {
	s := Status{Verdict: "trouble"}
	for range 100 {
		s.Problems = append(s.Problems, "node \x1b[2J")
	}
	var table strings.Builder
	if err := s.Table(&table); err != nil || strings.Contains(table.String(), "\x1b") || strings.Count(table.String(), "\n") > 30 || !strings.Contains(table.String(), "and 80 more") {
		t.Errorf("%v: %s", err, &table)
	}
}
