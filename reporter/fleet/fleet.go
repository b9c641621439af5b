package fleet

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/reporter/nodestatus"
)

// State is what nodetune's conditions on a Node come to.
type State string

// The states, from good to bad.
const (
	OK      State = "ok"      // every condition is False
	Silent  State = "silent"  // no condition: nodetune does not run there, may not write, or has not looked yet
	Unknown State = "unknown" // one is Unknown or of an unknown owner, or the Node is not Ready, so that nothing renews its conditions
	Problem State = "problem" // at least one is True
)

// stateRank sorts what needs a human first.
var stateRank = map[State]int{Problem: 0, Unknown: 1, Silent: 2, OK: 3}

// Node is one Node of the cluster as its object shows it.
type Node struct {
	Name  string                 `json:"name"`
	Ready corev1.ConditionStatus `json:"ready"`
	State State                  `json:"state"`
	// Since is the last transition of the condition that made State; zero where
	// there is none.
	Since        time.Time   `json:"since,omitzero"`
	Reason       string      `json:"reason,omitempty"` // why State is not ok, in a few words
	Conditions   []Condition `json:"conditions"`
	StartupTaint bool        `json:"gate,omitempty"` // the taint of the startup gate is still there
	Live         *LiveUse    `json:"live,omitempty"`
}

// Condition is a condition that nodetune wrote, or that another program may have
// written under the same name.
type Condition struct {
	Type    corev1.NodeConditionType `json:"type"`
	Status  corev1.ConditionStatus   `json:"status"`
	Reason  string                   `json:"reason"`
	Message string                   `json:"message"`
	Since   time.Time                `json:"since"`
	// OwnerUnknown: the Node does not record which program wrote it.
	OwnerUnknown bool `json:"owner_unknown,omitempty"`
}

// Summarize reads a Node. Conditions that another program publishes under one of
// our names are not ours. One without a recorded owner may be ours or not: True is
// a problem all the same, and False does not prove that nodetune found the node well.
func Summarize(n *corev1.Node) Node {
	own, unrecorded := nodestatus.Conditions(n)
	s := Node{
		Name: n.Name, Ready: corev1.ConditionUnknown, State: Silent, StartupTaint: nodestatus.StartupTaintIndex(n.Spec.Taints) >= 0,
		Reason: "no condition of nodetune", Conditions: []Condition{},
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			s.Ready = c.Status
		}
	}
	for _, c := range own {
		s.Conditions = append(s.Conditions, Condition{c.Type, c.Status, c.Reason, c.Message, c.LastTransitionTime.Time, false})
	}
	for _, c := range unrecorded {
		s.Conditions = append(s.Conditions, Condition{c.Type, c.Status, c.Reason, c.Message, c.LastTransitionTime.Time, true})
	}
	slices.SortFunc(s.Conditions, func(a, b Condition) int { return cmp.Compare(a.Type, b.Type) })
	if len(s.Conditions) > 0 {
		s.State, s.Reason = OK, ""
	}
	for _, c := range s.Conditions {
		state := map[corev1.ConditionStatus]State{
			corev1.ConditionTrue: Problem, corev1.ConditionFalse: OK,
		}[c.Status]
		why := c.Reason
		if c.OwnerUnknown {
			why += "; its owner is not recorded"
		}
		if state == "" || state == OK && c.OwnerUnknown {
			state = Unknown
		}
		switch {
		case stateRank[state] < stateRank[s.State]:
			s.State, s.Since, s.Reason = state, c.Since, string(c.Type)+" ("+why+")"
		case state == s.State && state != OK:
			s.Reason += ", " + string(c.Type) + " (" + why + ")"
			if c.Since.Before(s.Since) {
				s.Since = c.Since
			}
		}
	}
	if len(s.Conditions) > 0 && s.Ready != corev1.ConditionTrue {
		// The node lifecycle controller marks the kubelet's conditions alone.
		last := ""
		if s.State != OK {
			last = "; its last state is " + s.Reason
		}
		s.State, s.Reason = Unknown, "the node is not Ready, so its conditions are not renewed"+last
	}
	return s
}

// Sort orders nodes by state, name, since or use, what needs a human first;
// it reports whether it knows by.
func Sort(nodes []Node, by string) bool {
	byName := func(a, b Node) int { return cmp.Compare(a.Name, b.Name) }
	var order func(a, b Node) int
	switch by {
	case "name":
		order = byName
	case "state":
		order = func(a, b Node) int { return cmp.Compare(stateRank[a.State], stateRank[b.State]) }
	case "since": // the longest first, those without one last
		order = func(a, b Node) int {
			switch none := a.Since.IsZero(); {
			case none == b.Since.IsZero():
				return a.Since.Compare(b.Since)
			case none:
				return 1
			}
			return -1
		}
	case "use":
		order = func(a, b Node) int { return -cmp.Compare(a.Live.most(), b.Live.most()) }
	default:
		return false
	}
	slices.SortStableFunc(nodes, func(a, b Node) int { return cmp.Or(order(a, b), byName(a, b)) })
	return true
}
