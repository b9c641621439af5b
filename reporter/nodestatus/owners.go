package nodestatus

import (
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Owners are the field managers of each condition, sorted.
type Owners map[corev1.NodeConditionType][]string

// ReadOwners returns the field managers of each condition. A manager that
// merely changed a field of ours owns that field, we still own the entry.
func ReadOwners(entries []metav1.ManagedFieldsEntry) Owners {
	owners := make(Owners)
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

// Ours reports whether nodetune wrote the condition t.
func (o Owners) Ours(t corev1.NodeConditionType) bool { return slices.Contains(o[t], FieldManager) }

// Unrecorded reports whether the API server does not know who wrote the condition
// t. It tracks no object whose managedFields were once cleared.
func (o Owners) Unrecorded(t corev1.NodeConditionType) bool { return len(o[t]) == 0 }

// Conditions returns the conditions of n that nodetune wrote, and those that have
// the type of one of nodetune's and no recorded owner. Both are in the order of n.
func Conditions(n *corev1.Node) (own, unrecorded []corev1.NodeCondition) {
	owners := ReadOwners(n.ManagedFields)
	for _, c := range n.Status.Conditions {
		switch {
		case owners.Ours(c.Type):
			own = append(own, c)
		case Known(c.Type) && owners.Unrecorded(c.Type):
			unrecorded = append(unrecorded, c)
		}
	}
	return own, unrecorded
}
