package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/reporter/nodestatus"
)

// StartupTaint is the taint of the startup gate.
const StartupTaint = nodestatus.StartupTaint

// startupTaintPatch returns the JSON patch that removes the taint at index i. Taints
// are an atomic list, so a merge patch would replace those of others; the tests
// make the API server refuse when the list has moved since.
func startupTaintPatch(i int) []byte {
	return fmt.Appendf(nil, `[{"op":"test","path":"/spec/taints/%[1]d/key","value":%[2]q},`+
		`{"op":"test","path":"/spec/taints/%[1]d/effect","value":%[3]q},`+
		`{"op":"remove","path":"/spec/taints/%[1]d"}]`, i, StartupTaint, corev1.TaintEffectNoSchedule)
}
