package agent

import (
	"context"
	"math/rand/v2"

	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/kube"
)

// proveNodePolicy reports whether the API server keeps this agent's token from
// writing other Nodes. Nothing depends on the result: floors and conditions go on.
func (a *Agent) proveNodePolicy(ctx context.Context) {
	if a.kube.client == nil {
		return
	}
	var last reporter.NodePolicy
	kube.WatchNodePolicy(ctx, a.kube.client.Nodes(), a.kube.name, rand.Float64, func(p reporter.NodePolicy) {
		a.latest.Update(func(s *reporter.Snapshot) { s.NodePolicy = &p })
		if p == last {
			return
		}
		last = p
		switch p.State {
		case reporter.NodePolicyEnforced:
			a.log.Info("the node policy is enforced", "reason", p.Reason)
		case reporter.NodePolicyNotEnforced:
			a.log.Warn("this agent's token can write other nodes: apply the ValidatingAdmissionPolicy nodetune-own-node-only and its binding", "reason", p.Reason)
		default:
			a.log.Info("unknown whether the node policy is enforced", "reason", p.Reason)
		}
	})
}
