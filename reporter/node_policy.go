package reporter

// NodePolicy is whether the API server keeps the agent's token from writing other
// Nodes, as the ValidatingAdmissionPolicy nodetune-own-node-only does.
type NodePolicy struct {
	State  NodePolicyState `json:"state"`
	Reason string          `json:"reason"` // how that is known, or why it is not
}

// NodePolicyState is what the agent knows about the policy.
type NodePolicyState string

// The states. Unknown is not Enforced.
const (
	NodePolicyEnforced    NodePolicyState = "Enforced"
	NodePolicyNotEnforced NodePolicyState = "NotEnforced"
	NodePolicyUnknown     NodePolicyState = "Unknown"
)
