package kube

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

func TestCleanup(t *testing.T) {
	foreign := reportertest.Node("foreign", "True", "SysctlDrift=True")
	foreign.ManagedFields[0].Manager = "other"
	gated := reportertest.Node("gated", "True")
	gated.Spec.Taints = []corev1.Taint{{Key: StartupTaint, Effect: corev1.TaintEffectNoSchedule}}
	c := fake.NewSimpleClientset(reportertest.Node("a", "True", "SysctlDrift=True", "OldPressure=True"), reportertest.Node("b", "Unknown", "SysctlDrift=False"), foreign, gated)
	nodes := c.CoreV1().Nodes()
	clean := func(dryRun bool) string {
		all, err := CleanupAll(t.Context(), nodes, dryRun)
		if err != nil {
			t.Error(err)
		}
		var got []string
		for _, c := range all {
			s := c.Node
			for _, t := range c.Removed {
				s += " -" + string(t)
			}
			if c.StartupTaint {
				s += " gate"
			}
			got = append(got, s)
		}
		return strings.Join(got, "; ")
	}
	types := func(name string) (all []string) {
		n, err := nodes.Get(context.Background(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range n.Status.Conditions {
			all = append(all, string(c.Type))
		}
		return all
	}
	const everything = "a -OldPressure -SysctlDrift; b -SysctlDrift; gated gate"
	if got := clean(true); got != everything {
		t.Errorf("dry run: %s", got)
	}
	if got := types("a"); len(got) != 3 {
		t.Errorf("a dry run has left %q", got)
	}
	if got := clean(false); got != everything {
		t.Errorf("all: %s", got)
	}
	for node, want := range map[string][]string{
		"a": {"Ready"}, "b": {"Ready"}, "foreign": {"Ready", "SysctlDrift"},
	} {
		if got := types(node); !slices.Equal(got, want) {
			t.Errorf("%s has the conditions %q, want %q", node, got, want)
		}
	}
	if _, err := Cleanup(t.Context(), nodes, "nobody", false); !apierrors.IsNotFound(err) {
		t.Errorf("a node that is not there: %v", err)
	}
}
