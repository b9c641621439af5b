package accounting

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodetune/nodetune/internal/workload"
)

// A directory on a dead file system: one pass waits two seconds, the next ones do
// not, and the names are back when the file system is.
func TestNamesOfADeadFileSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		thaw := make(chan struct{})
		fresh := workload.NewIndex("/")
		listings := 0
		n := newNames("/nonexistent")
		n.refresh = func() (*workload.Index, error) {
			listings++
			<-thaw
			return fresh, nil
		}
		before := n.last
		start := time.Now()
		for range 100 {
			if err := n.Refresh(); !errors.Is(err, errNamesLate) {
				t.Fatalf("got %v", err)
			}
		}
		if took := time.Since(start); took != namesDeadline {
			t.Errorf("100 passes waited %v, want %v", took, namesDeadline)
		}
		if listings != 1 || n.last != before {
			t.Errorf("%d listings hang, the names before are kept: %v", listings, n.last == before)
		}
		close(thaw)
		synctest.Wait()
		if err := n.Refresh(); err != nil || n.last != fresh {
			t.Errorf("after the thaw: %v", err)
		}
	})
}
