package kube

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/reporter/condition"
	"github.com/nodetune/nodetune/reporter/nodestatus"
)

// FieldManager names nodetune's writes in metadata.managedFields.
const FieldManager = nodestatus.FieldManager

// nodeView is what is kept of a Node: a whole one lists its images and takes
// tens of kilobytes.
type nodeView struct {
	uid          types.UID
	version      string // metadata.resourceVersion
	conditions   map[corev1.NodeConditionType]corev1.NodeCondition
	owners       nodestatus.Owners
	startupTaint int // where our taint stands in spec.taints; -1: it is not there
}

// viewNode keeps from n the conditions that are ours or could be.
func viewNode(n *corev1.Node) *nodeView {
	v := &nodeView{
		uid:          n.UID,
		version:      n.ResourceVersion,
		conditions:   make(map[corev1.NodeConditionType]corev1.NodeCondition),
		owners:       nodestatus.ReadOwners(n.ManagedFields),
		startupTaint: nodestatus.StartupTaintIndex(n.Spec.Taints),
	}
	for _, c := range n.Status.Conditions {
		if condition.Known(c.Type) || v.ours(c.Type) {
			v.conditions[c.Type] = c
		}
	}
	return v
}

// ours reports whether nodetune wrote the condition t.
func (v *nodeView) ours(t corev1.NodeConditionType) bool {
	return v.owners.Ours(t)
}

// foreign returns who owns a condition that exists and is not ours.
func (v *nodeView) foreign(t corev1.NodeConditionType) (managers []string, ok bool) {
	if _, exists := v.conditions[t]; !exists || v.ours(t) || v.owners.Unrecorded(t) {
		return nil, false
	}
	return v.owners[t], true
}

// adoptable returns the conditions to go on from: those that nodetune wrote, and
// those of our types that have no recorded manager, since the API server does not
// track an object whose managedFields were once cleared.
func (v *nodeView) adoptable() []corev1.NodeCondition {
	var all []corev1.NodeCondition
	for t, c := range v.conditions {
		if v.ours(t) || v.owners.Unrecorded(t) {
			all = append(all, c)
		}
	}
	return all
}

// written returns the conditions that nodetune wrote.
func (v *nodeView) written() []corev1.NodeCondition {
	var all []corev1.NodeCondition
	for t, c := range v.conditions {
		if v.ours(t) {
			all = append(all, c)
		}
	}
	return all
}
