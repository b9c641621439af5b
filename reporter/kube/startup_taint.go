package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// StartupTaint keeps collectors off a node whose floors do not hold yet. The
// kubelet adds it when it registers the node (--register-with-taints), or the program
// that creates the node. nodetune removes it and never adds it, so that a node that was ready stays open.
const StartupTaint = "nodetune.io/not-ready"

// startupTaintIndex returns where the taint of the startup gate stands, or -1.
func startupTaintIndex(taints []corev1.Taint) int {
	for i, t := range taints {
		if t.Key == StartupTaint && t.Effect == corev1.TaintEffectNoSchedule {
			return i
		}
	}
	return -1
}

// startupTaintPatch returns the JSON patch that removes the taint at index i. Taints
// are an atomic list, so a merge patch would replace those of others; the tests
// make the API server refuse when the list has moved since.
func startupTaintPatch(i int) []byte {
	return fmt.Appendf(nil, `[{"op":"test","path":"/spec/taints/%[1]d/key","value":%[2]q},`+
		`{"op":"test","path":"/spec/taints/%[1]d/effect","value":%[3]q},`+
		`{"op":"remove","path":"/spec/taints/%[1]d"}]`, i, StartupTaint, corev1.TaintEffectNoSchedule)
}
