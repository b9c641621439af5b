package kube

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nodetune/nodetune/reporter/condition"
)

// FieldManager names nodetune's writes in metadata.managedFields. What it owns
// there is what it may change and remove: no file has to remember it, and what
// a monitor that is gone has left behind is found again.
const FieldManager = "nodetune"

// nodeView is what is kept of a Node: a whole one lists its images and takes
// tens of kilobytes.
type nodeView struct {
	uid          types.UID
	version      string // metadata.resourceVersion
	conditions   map[corev1.NodeConditionType]corev1.NodeCondition
	owners       map[corev1.NodeConditionType][]string // field managers, sorted
	startupTaint int                                   // where our taint stands in spec.taints; -1: it is not there
}

// viewNode keeps from n the conditions that are ours or could be.
func viewNode(n *corev1.Node) *nodeView {
	v := &nodeView{
		uid:          n.UID,
		version:      n.ResourceVersion,
		conditions:   make(map[corev1.NodeConditionType]corev1.NodeCondition),
		owners:       conditionOwners(n.ManagedFields),
		startupTaint: startupTaintIndex(n.Spec.Taints),
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
	return slices.Contains(v.owners[t], FieldManager)
}

// foreign returns who owns a condition that exists and is not ours.
func (v *nodeView) foreign(t corev1.NodeConditionType) (managers []string, ok bool) {
	if _, exists := v.conditions[t]; !exists || v.ours(t) || len(v.owners[t]) == 0 {
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
		if v.ours(t) || len(v.owners[t]) == 0 {
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

// OwnConditions returns the conditions of n that nodetune wrote, in no order,
// and whether n carries the taint of the startup gate.
func OwnConditions(n *corev1.Node) (own []corev1.NodeCondition, startupTaint bool) {
	v := viewNode(n)
	return v.written(), v.startupTaint >= 0
}

// conditionOwners returns the field managers of each condition. A manager that
// merely changed a field of ours owns that field, we still own the entry.
func conditionOwners(entries []metav1.ManagedFieldsEntry) map[corev1.NodeConditionType][]string {
	owners := make(map[corev1.NodeConditionType][]string)
	for _, e := range entries {
		if e.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Status struct {
				Conditions map[string]json.RawMessage `json:"f:conditions"`
			} `json:"f:status"`
		}
		if json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields) != nil {
			continue // written by the API server; without it nothing is ours
		}
		for key := range fields.Status.Conditions {
			var k struct {
				Type corev1.NodeConditionType `json:"type"`
			}
			in, ok := strings.CutPrefix(key, "k:")
			if !ok || json.Unmarshal([]byte(in), &k) != nil || k.Type == "" {
				continue
			}
			if i, found := slices.BinarySearch(owners[k.Type], e.Manager); !found {
				owners[k.Type] = slices.Insert(owners[k.Type], i, e.Manager)
			}
		}
	}
	return owners
}
