package nodestatus

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What stands in managedFields was written by the API server, from keys that
// any client with the right to patch the status chose.
func FuzzReadOwners(f *testing.F) {
	f.Add(`{"f:status":{"f:conditions":{"k:{\"type\":\"X\"}":{".":{}}}}}`)
	f.Add(`{"f:status":{"f:conditions":{".":{},"k:{\"type\":1}":{},"v:1":{}}}}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, raw string) {
		entry := metav1.ManagedFieldsEntry{Manager: "m", FieldsV1: metav1.NewFieldsV1(raw)}
		for kind, owners := range ReadOwners([]metav1.ManagedFieldsEntry{entry, entry}) {
			if kind == "" || !slices.Equal(owners, []string{"m"}) {
				t.Errorf("%q is owned by %q", kind, owners)
			}
		}
	})
}

func TestConditions(t *testing.T) {
	entry := func(manager string, types ...string) metav1.ManagedFieldsEntry {
		var keys []string
		for _, kind := range types {
			keys = append(keys, `"k:{\"type\":\"`+kind+`\"}":{".":{}}`)
		}
		return metav1.ManagedFieldsEntry{Manager: manager, FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:conditions":{` + strings.Join(keys, ",") + `}}}`)}
	}
	kubelet := entry("kubelet", "Ready")
	for _, tt := range []struct {
		name            string
		conditions      string
		managed         []metav1.ManagedFieldsEntry
		own, unrecorded string
	}{
		{"no condition", "", nil, "", ""},
		{"ours", "Ready SysctlDrift", []metav1.ManagedFieldsEntry{kubelet, entry("nodetune", "SysctlDrift")}, "SysctlDrift", ""},
		{"of another program", "SysctlDrift", []metav1.ManagedFieldsEntry{entry("npd", "SysctlDrift")}, "", ""},
		{"shared", "SysctlDrift", []metav1.ManagedFieldsEntry{entry("npd", "SysctlDrift"), entry("nodetune", "SysctlDrift")}, "SysctlDrift", ""},
		{"no managedFields at all", "Ready SysctlDrift", nil, "", "SysctlDrift"},
		{"managedFields without our conditions", "Ready SysctlDrift LogDiskPressure", []metav1.ManagedFieldsEntry{kubelet}, "", "SysctlDrift LogDiskPressure"},
		{"one is recorded and one is not", "SysctlDrift LogDiskPressure", []metav1.ManagedFieldsEntry{entry("nodetune", "SysctlDrift")}, "SysctlDrift", "LogDiskPressure"},
		{"an entry that is no JSON", "SysctlDrift", []metav1.ManagedFieldsEntry{{Manager: "nodetune", FieldsV1: metav1.NewFieldsV1("[")}}, "", "SysctlDrift"},
		{"an entry without fields", "SysctlDrift", []metav1.ManagedFieldsEntry{{Manager: "nodetune"}}, "", "SysctlDrift"},
		{"a type of another version of nodetune", "OldPressure", []metav1.ManagedFieldsEntry{entry("nodetune", "OldPressure")}, "OldPressure", ""},
		{"a foreign type without an owner", "OldPressure", nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{ManagedFields: tt.managed}}
			for _, kind := range strings.Fields(tt.conditions) {
				n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(kind)})
			}
			names := func(all []corev1.NodeCondition) string {
				var types []string
				for _, c := range all {
					types = append(types, string(c.Type))
				}
				return strings.Join(types, " ")
			}
			own, unrecorded := Conditions(n)
			if names(own) != tt.own || names(unrecorded) != tt.unrecorded {
				t.Errorf("got %q and %q, want %q and %q", names(own), names(unrecorded), tt.own, tt.unrecorded)
			}
		})
	}
}
