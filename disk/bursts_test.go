package disk

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/workload"
)

// Archives carry the kubelet's time, whatever zone the agent's container has.
func TestBurstsZone(t *testing.T) {
	root := t.TempDir()
	_, file := podLog(t, root, "web")
	put(t, file, strings.Repeat("x", 100))
	k := defaultKubelet()
	k.LogMaxSizeBytes, k.zone = 10, time.FixedZone("the host's", 2*3600)
	b, err := NewBursts("/proc", root, k, 0, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	must(t, err)
	defer b.Close()
	at := time.Date(2026, 1, 31, 23, 0, 0, 0, time.UTC)
	if acts := b.Pass(t.Context(), false, at); len(acts) != 1 || acts[0].Err != nil || filepath.Base(acts[0].Archive) != "0.log.20260201-010000" {
		t.Errorf("%+v", acts)
	}
	if _, err := os.Stat(file + ".20260201-010000"); err != nil {
		t.Error(err)
	}
}

// Somebody who watches with kubectl logs -f holds nothing up; a process of a pod
// that calls itself so is a reader like any other.
func TestBehindPassesOverTheKubelet(t *testing.T) {
	k := opener{Holder: Holder{Comm: "kubelet"}}
	if _, ok := behind([]opener{k}, 10<<20, 0); ok {
		t.Error("the kubelet is waited for")
	}
	k.Who.PodUID = "11111111-2222-3333-4444-555555555555"
	if _, ok := behind([]opener{k}, 10<<20, 0); !ok {
		t.Error("a pod is taken for the kubelet")
	}
}
