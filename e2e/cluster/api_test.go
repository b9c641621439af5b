package cluster

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An API server alone: beside the cluster's, on a port of its own.
func TestAPIAlone(t *testing.T) {
	api, err := StartAPI(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer api.Stop()
	nodes, err := api.Client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) != 0 {
		t.Errorf("a new API server has %d nodes, want 0", len(nodes.Items))
	}
	if err := api.Server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}
