package logs

import (
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
)

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
		{20, 100, 200, at(20)},      // the file grew, it did not move
		{30, 100, 200, at(20)},
		{40, 150, 200, time.Time{}}, // it moves
		{50, 150, 200, time.Time{}}, // unread, but the file does not grow
		{60, 150, 201, at(40)},
		{70, 0, 50, time.Time{}}, // truncated, and noticed
	} {
		if got := p.advance(c.pos, c.size, time.Time{}, at(c.second)); !got.Equal(c.stalled) {
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
