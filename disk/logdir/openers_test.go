package logdir

import (
	"testing"
)

// A user who watches with kubectl logs -f delays no rotation. A process of a pod that
// calls itself kubelet is a reader like any other.
func TestBehindPassesOverTheKubelet(t *testing.T) {
	k := Opener{Comm: "kubelet"}
	if _, ok := FurthestBehind([]Opener{k}, 10<<20, 0); ok {
		t.Error("the kubelet is waited for")
	}
	k.Who.PodUID = "11111111-2222-3333-4444-555555555555"
	if _, ok := FurthestBehind([]Opener{k}, 10<<20, 0); !ok {
		t.Error("a pod is taken for the kubelet")
	}
}
