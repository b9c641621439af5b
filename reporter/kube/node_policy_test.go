package kube

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/reporter"
)

// admission answers a proof as an API server with certain policies does.
type admission struct {
	NodeClient
	nodes   []string
	listErr error
	answer  error
	patched []string // NAME?subresource
	options metav1.PatchOptions
}

func (a *admission) List(_ context.Context, o metav1.ListOptions) (*corev1.NodeList, error) {
	l := &corev1.NodeList{}
	for i, n := range a.nodes {
		if int64(i) < o.Limit {
			l.Items = append(l.Items, corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}})
		}
	}
	return l, a.listErr
}

func (a *admission) Patch(_ context.Context, name string, _ types.PatchType, _ []byte, o metav1.PatchOptions, sub ...string) (*corev1.Node, error) {
	a.patched, a.options = append(a.patched, name+"/"+strings.Join(sub, "/")), o
	return nil, a.answer
}

func TestProveNodePolicy(t *testing.T) {
	nodes := schema.GroupResource{Resource: "nodes"}
	two := []string{"a", "own"}
	for _, test := range []struct {
		name   string
		server admission
		want   reporter.NodePolicyState
		reason string
		other  string
	}{
		{"refused by a policy", admission{nodes: two, answer: apierrors.NewInvalid(schema.GroupKind{Kind: "Node"}, "a", nil)}, reporter.NodePolicyEnforced, "refuses a dry-run patch of the status of node a", "a"},
		{"refused by RBAC", admission{nodes: two, answer: apierrors.NewForbidden(nodes, "a", nil)}, reporter.NodePolicyEnforced, "refuses", "a"},
		{"taken", admission{nodes: two}, reporter.NodePolicyNotEnforced, "accepts a dry-run patch of the status of node a", "a"},
		{"taken, own first", admission{nodes: []string{"own", "z", "y"}}, reporter.NodePolicyNotEnforced, "node z", "z"},
		{"taken, own is not among the first", admission{nodes: []string{"a", "b", "own"}}, reporter.NodePolicyNotEnforced, "node b", "b"},
		{"one node", admission{nodes: []string{"own"}}, reporter.NodePolicyUnknown, "there is no other node", ""},
		{"no node", admission{}, reporter.NodePolicyUnknown, "there is no other node", ""},
		{"no right to list", admission{listErr: apierrors.NewForbidden(nodes, "", nil)}, reporter.NodePolicyUnknown, "the nodes cannot be listed", ""},
		{"no API server", admission{listErr: errors.New("connection refused")}, reporter.NodePolicyUnknown, "connection refused", ""},
		{"the other node goes away", admission{nodes: two, answer: apierrors.NewNotFound(nodes, "a")}, reporter.NodePolicyUnknown, "failed", "a"},
		{"a webhook without dry run", admission{nodes: two, answer: apierrors.NewBadRequest("does not support dry run")}, reporter.NodePolicyUnknown, "does not support dry run", "a"},
		{"an overloaded API server", admission{nodes: two, answer: apierrors.NewTooManyRequests("later", 1)}, reporter.NodePolicyUnknown, "failed", "a"},
		{"a webhook that times out", admission{nodes: two, answer: apierrors.NewInternalError(errors.New("timeout"))}, reporter.NodePolicyUnknown, "failed", "a"},
		{"a token that has expired", admission{nodes: two, answer: apierrors.NewUnauthorized("expired")}, reporter.NodePolicyUnknown, "failed", "a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ProveNodePolicy(t.Context(), &test.server, "own")
			if got.State != test.want || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("%+v, want %s: %s", got, test.want, test.reason)
			}
			if test.other == "" {
				if test.server.patched != nil {
					t.Errorf("patched %v", test.server.patched)
				}
				return
			}
			if want := test.other + "/status"; len(test.server.patched) != 1 || test.server.patched[0] != want {
				t.Errorf("patched %v, want %s", test.server.patched, want)
			}
			if o := test.server.options; len(o.DryRun) != 1 || o.DryRun[0] != metav1.DryRunAll {
				t.Errorf("it is no dry run: %+v", o)
			}
		})
	}
}
