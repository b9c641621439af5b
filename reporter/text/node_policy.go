package text

import (
	"fmt"
	"strings"

	"github.com/nodetune/nodetune/internal/safetext"
	"github.com/nodetune/nodetune/reporter"
)

// nodePolicyLine writes what is wrong with the policy about Nodes: nothing where it
// is enforced.
func nodePolicyLine(b *strings.Builder, p *reporter.NodePolicy, colour bool) {
	if p == nil {
		return
	}
	switch p.State {
	case reporter.NodePolicyNotEnforced:
		fmt.Fprintf(b, "\n%s this agent's token can write other nodes: %s; apply the ValidatingAdmissionPolicy nodetune-own-node-only and its binding\n",
			paint(colour, yellow, "warning:"), safetext.String(p.Reason))
	case reporter.NodePolicyUnknown:
		fmt.Fprintf(b, "\nnode policy: unknown whether this agent's token can write other nodes: %s\n", safetext.String(p.Reason))
	}
}
