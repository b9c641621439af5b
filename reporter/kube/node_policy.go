package kube

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/reporter"
)

// otherNodePatch is what the policy must refuse. The API server only tries it: no
// Node is changed where it is taken.
const otherNodePatch = `{"status":{"conditions":[{"type":"SysctlDrift","status":"Unknown","reason":"NodePolicyProof","message":"a dry run of nodetune"}]}}`

// proofTimeout bounds both requests of a proof.
const proofTimeout = 15 * time.Second

// ProveNodePolicy reports whether the API server keeps this token from writing the
// status of another Node than own. It sends a dry-run patch of one to the API
// server, which asks all admission policies and stores nothing.
func ProveNodePolicy(ctx context.Context, nodes NodeClient, own string) reporter.NodePolicy {
	ctx, cancel := context.WithTimeout(ctx, proofTimeout)
	defer cancel()
	unknown := func(format string, args ...any) reporter.NodePolicy {
		return reporter.NodePolicy{State: reporter.NodePolicyUnknown, Reason: fmt.Sprintf(format, args...)}
	}
	list, err := nodes.List(ctx, metav1.ListOptions{Limit: 2}) // one of two is another one
	if err != nil {
		return unknown("the nodes cannot be listed: %v", err)
	}
	other := ""
	for _, n := range list.Items {
		if n.Name != own {
			other = n.Name
		}
	}
	if other == "" {
		return unknown("there is no other node to try it on")
	}
	_, err = nodes.Patch(ctx, other, types.StrategicMergePatchType, []byte(otherNodePatch),
		metav1.PatchOptions{FieldManager: FieldManager, DryRun: []string{metav1.DryRunAll}}, "status")
	switch {
	case err == nil:
		return reporter.NodePolicy{
			State:  reporter.NodePolicyNotEnforced,
			Reason: "the API server accepts a dry-run patch of the status of node " + other,
		}
	// A policy refuses with Invalid unless it names another reason; RBAC with Forbidden.
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		return reporter.NodePolicy{
			State:  reporter.NodePolicyEnforced,
			Reason: "the API server refuses a dry-run patch of the status of node " + other,
		}
	}
	return unknown("a dry-run patch of the status of node %s failed: %v", other, err)
}

// proofRetry and proofAgain are when the policy is proved again: an unknown result
// may be an outage or a cluster's first node, and a policy may be deleted later.
const (
	proofRetry = 5 * time.Minute
	proofAgain = 6 * time.Hour
)

// WatchNodePolicy proves the policy now and again until ctx is done, and passes each
// result to report. random is in [0, 1) and spreads the agents of a cluster.
func WatchNodePolicy(ctx context.Context, nodes NodeClient, own string, random func() float64, report func(reporter.NodePolicy)) {
	for ctx.Err() == nil {
		p := ProveNodePolicy(ctx, nodes, own)
		if ctx.Err() != nil {
			return
		}
		report(p)
		wait := proofAgain
		if p.State == reporter.NodePolicyUnknown {
			wait = proofRetry
		}
		wait += time.Duration(random() * float64(wait))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}
