package kube

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What stands in managedFields was written by the API server, from keys that
// anybody with the right to patch the status chose.
func FuzzConditionOwners(f *testing.F) {
	f.Add(`{"f:status":{"f:conditions":{"k:{\"type\":\"X\"}":{".":{}}}}}`)
	f.Add(`{"f:status":{"f:conditions":{".":{},"k:{\"type\":1}":{},"v:1":{}}}}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, raw string) {
		entry := metav1.ManagedFieldsEntry{Manager: "m", FieldsV1: metav1.NewFieldsV1(raw)}
		for kind, owners := range conditionOwners([]metav1.ManagedFieldsEntry{entry, entry}) {
			if kind == "" || !slices.Equal(owners, []string{"m"}) {
				t.Errorf("%q is owned by %q", kind, owners)
			}
		}
	})
}
