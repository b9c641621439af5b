package disk

import (
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
)

// A kubectl logs -f whose terminal is stopped is no collector that is stalled,
// and the kubelet behind it needs no restart.
func TestWhoLooksIsNotStalled(t *testing.T) {
	for _, kubelet := range []bool{false, true} {
		f := newFollow()
		var got []Reader
		for minute := range 4 {
			s := &seen{follow: f, openings: []opening{{
				process: &process{pid: 812, start: 7, kubelet: kubelet},
				path:    "/var/log/pods/shop_web-0_11111111-2222-3333-4444-555555555555/app/0.log",
				file:    inode{dev: 1, ino: 2}, size: uint64(1000 * (1 + minute)), pos: 1000, links: 1,
			}}}
			got, _ = f.readers(s, nil, nil, ReadersPolicy{StalledAfter: field.Duration(2 * time.Minute), RotateWait: field.Duration(5 * time.Second)}, disktest.Epoch.Add(time.Duration(minute)*time.Minute))
		}
		if len(got) != 1 || got[0].LagBytes != 3000 || (got[0].StalledSince == nil) != kubelet {
			t.Errorf("kubelet %v: %+v", kubelet, got)
		}
	}
}
