package reporter

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// NodeState is what nodetune's conditions on a Node come to.
type NodeState string

// The states, from good to bad.
const (
	NodeOK      NodeState = "ok"      // every condition is False
	NodeSilent  NodeState = "silent"  // no condition: nodetune does not run there, may not write, or has not looked yet
	NodeUnknown NodeState = "unknown" // one is Unknown, or the Node is not Ready, so that nobody renews what was said
	NodeProblem NodeState = "problem" // at least one is True
)

// stateRank sorts what needs a human first.
var stateRank = map[NodeState]int{NodeProblem: 0, NodeUnknown: 1, NodeSilent: 2, NodeOK: 3}

// NodeSummary is one Node of the cluster as its object says.
type NodeSummary struct {
	Name  string                 `json:"name"`
	Ready corev1.ConditionStatus `json:"ready"`
	State NodeState              `json:"state"`
	// Since is the last transition of the condition that made State; zero where
	// there is none.
	Since      time.Time          `json:"since,omitzero"`
	Reason     string             `json:"reason,omitempty"` // why State is not ok, in a few words
	Conditions []SummaryCondition `json:"conditions"`
	Gate       bool               `json:"gate,omitempty"` // the taint of the startup gate is still there
	Live       *LiveUse           `json:"live,omitempty"`
}

// SummaryCondition is a condition that nodetune wrote.
type SummaryCondition struct {
	Type    corev1.NodeConditionType `json:"type"`
	Status  corev1.ConditionStatus   `json:"status"`
	Reason  string                   `json:"reason"`
	Message string                   `json:"message"`
	Since   time.Time                `json:"since"`
}

// Summarize reads a Node. Conditions that somebody else publishes under one of
// our names are not ours.
func Summarize(n *corev1.Node) NodeSummary {
	own, startupTaint := OwnConditions(n)
	s := NodeSummary{
		Name: n.Name, Ready: corev1.ConditionUnknown, State: NodeSilent, Gate: startupTaint,
		Reason: "no condition of nodetune", Conditions: []SummaryCondition{},
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			s.Ready = c.Status
		}
	}
	for _, c := range own {
		s.Conditions = append(s.Conditions, SummaryCondition{c.Type, c.Status, c.Reason, c.Message, c.LastTransitionTime.Time})
	}
	slices.SortFunc(s.Conditions, func(a, b SummaryCondition) int { return cmp.Compare(a.Type, b.Type) })
	if len(s.Conditions) > 0 {
		s.State, s.Reason = NodeOK, ""
	}
	for _, c := range s.Conditions {
		state := map[corev1.ConditionStatus]NodeState{
			corev1.ConditionTrue: NodeProblem, corev1.ConditionFalse: NodeOK,
		}[c.Status]
		if state == "" {
			state = NodeUnknown
		}
		switch {
		case stateRank[state] < stateRank[s.State]:
			s.State, s.Since, s.Reason = state, c.Since, string(c.Type)+" ("+c.Reason+")"
		case state == s.State && state != NodeOK:
			s.Reason += ", " + string(c.Type) + " (" + c.Reason + ")"
			if c.Since.Before(s.Since) {
				s.Since = c.Since
			}
		}
	}
	if len(s.Conditions) > 0 && s.Ready != corev1.ConditionTrue {
		// The node lifecycle controller marks the kubelet's conditions alone.
		said := ""
		if s.State != NodeOK {
			said = "; last said " + s.Reason
		}
		s.State, s.Reason = NodeUnknown, "the node is not Ready, so nobody renews this"+said
	}
	return s
}

// SortNodes orders nodes by state, name, since or use, what needs a human first;
// it reports whether it knows by.
func SortNodes(nodes []NodeSummary, by string) bool {
	byName := func(a, b NodeSummary) int { return cmp.Compare(a.Name, b.Name) }
	var order func(a, b NodeSummary) int
	switch by {
	case "name":
		order = byName
	case "state":
		order = func(a, b NodeSummary) int { return cmp.Compare(stateRank[a.State], stateRank[b.State]) }
	case "since": // the longest first, those without one last
		order = func(a, b NodeSummary) int {
			switch none := a.Since.IsZero(); {
			case none == b.Since.IsZero():
				return a.Since.Compare(b.Since)
			case none:
				return 1
			}
			return -1
		}
	case "use":
		order = func(a, b NodeSummary) int { return -cmp.Compare(a.Live.most(), b.Live.most()) }
	default:
		return false
	}
	slices.SortStableFunc(nodes, func(a, b NodeSummary) int { return cmp.Or(order(a, b), byName(a, b)) })
	return true
}
