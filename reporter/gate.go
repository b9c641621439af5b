package reporter

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// GateTaint keeps collectors off a node whose floors do not hold yet. Whoever
// registers the node puts it there (kubelet --register-with-taints); nodetune
// removes it and never adds it, so that a node that was ready stays open.
const GateTaint = "nodetune.io/not-ready"

// gateIndex returns where the taint of the startup gate stands, or -1.
func gateIndex(taints []corev1.Taint) int {
	for i, t := range taints {
		if t.Key == GateTaint && t.Effect == corev1.TaintEffectNoSchedule {
			return i
		}
	}
	return -1
}

// gatePatch returns the JSON patch that removes the taint at index i. Taints
// are an atomic list, so a merge patch would replace those of others; the tests
// make the API server refuse when the list has moved since.
func gatePatch(i int) []byte {
	return fmt.Appendf(nil, `[{"op":"test","path":"/spec/taints/%[1]d/key","value":%[2]q},`+
		`{"op":"test","path":"/spec/taints/%[1]d/effect","value":%[3]q},`+
		`{"op":"remove","path":"/spec/taints/%[1]d"}]`, i, GateTaint, corev1.TaintEffectNoSchedule)
}
