package procscan

import (
	"errors"
	"testing"

	"github.com/nodetune/nodetune/inotify"
)

// TestNoLedger: where the kernel cannot be asked, the walk's figures stay and
// the reason is there.
func TestNoLedger(t *testing.T) {
	s, err := New("/proc", "/sys", inotify.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.SetAccountSource(inotify.Unavailable{Why: errors.New("no capability")})
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if u.Source != inotify.SourceProcfs || u.SourceReason != "no capability" || u.InstancesQuality == inotify.Exact {
		t.Errorf("got %s because %q, instances %s", u.Source, u.SourceReason, u.InstancesQuality)
	}
}
