package logs

import (
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// A kubectl logs -f whose terminal is stopped is no collector that is stalled,
// and the kubelet behind it needs no restart.
func TestWhoLooksIsNotStalled(t *testing.T) {
	for _, kubelet := range []bool{false, true} {
		f := NewReaderTracker()
		var got []Reader
		for minute := range 4 {
			s := &ProcSnapshot{follow: f, openings: []opening{{
				process: &process{pid: 812, start: 7, kubelet: kubelet},
				path:    "/var/log/pods/shop_web-0_11111111-2222-3333-4444-555555555555/app/0.log",
				file:    hostfs.Inode{Dev: 1, Ino: 2}, size: uint64(1000 * (1 + minute)), pos: 1000, links: 1,
			}}}
			got, _ = f.Readers(s, nil, nil, ReadersPolicy{StalledAfter: field.Duration(2 * time.Minute), RotateWait: field.Duration(5 * time.Second)}, disktest.Epoch.Add(time.Duration(minute)*time.Minute))
		}
		if len(got) != 1 || got[0].LagBytes != 3000 || (got[0].StalledSince == nil) != kubelet {
			t.Errorf("kubelet %v: %+v", kubelet, got)
		}
	}
}

func TestAdvance(t *testing.T) {
	at := func(s int) time.Time { return disktest.Epoch.Add(time.Duration(s) * time.Second) }
	var p progress
	for i, c := range []struct {
		second    int
		pos, size uint64
		stalled   time.Time
	}{
		{0, 100, 100, time.Time{}},
		{10, 100, 100, time.Time{}}, // nothing to read
		{20, 100, 200, at(0)},       // the file grew, it did not move
		{30, 100, 200, at(0)},
		{40, 150, 200, time.Time{}}, // it moves
		{50, 150, 200, time.Time{}}, // unread, but the file does not grow
		{60, 150, 201, at(40)},
		{70, 0, 50, time.Time{}}, // truncated, and noticed
	} {
		if got := p.advance(c.pos, c.size, at(c.second)); !got.Equal(c.stalled) {
			t.Errorf("step %d: stalled since %v, want %v", i, got, c.stalled)
		}
	}
	if p.speed != 5 {
		t.Errorf("speed %v, want 5 (50 bytes in 10 s)", p.speed)
	}
	if got := predictedLoss(1000, 100, 5*time.Second); got != 500 {
		t.Errorf("predicted loss %d, want 500", got)
	}
	if got := predictedLoss(499, 100, 5*time.Second); got != 0 {
		t.Errorf("predicted loss %d, want 0", got)
	}
}
