package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nodetune/nodetune/reporter"
)

var nodePolicyEnforced = desc("nodetune_node_policy_enforced",
	"1 if the API server refuses this agent's token a dry-run write to another Node, 0 if it accepts one; left out while that is unknown, as in a cluster of one node.")

var nodePolicyDescs = []*prometheus.Desc{nodePolicyEnforced}

func collectNodePolicy(ch chan<- prometheus.Metric, p *reporter.NodePolicy) {
	if p != nil && p.State != reporter.NodePolicyUnknown {
		gauge(ch, nodePolicyEnforced, boolToFloat(p.State == reporter.NodePolicyEnforced))
	}
}
