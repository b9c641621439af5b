package filesystem

import (
	"math"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
)

// A writer at 10 MB/s below a rotation that frees 500 MB every minute: the
// steps must not hide the growth between them.
func TestGrowthSurvivesTheSawtooth(t *testing.T) {
	w := window{span: 2 * time.Minute}
	avail := 50e9
	for i := range 100 {
		if i%6 == 5 {
			avail += 500e6
		}
		w.add(sample{disktest.Epoch.Add(time.Duration(i) * 10 * time.Second), uint64(avail)})
		avail -= 10e6 * 10
	}
	got, ok := w.growth()
	if !ok || math.Abs(got-10e6) > 1 {
		t.Errorf("growth %v, want 10e6", got)
	}
	if n := len(w.samples); n > 62 {
		t.Errorf("%d samples kept of a window that holds 61", n)
	}
}

func TestGrowth(t *testing.T) {
	w := window{span: time.Minute}
	if _, ok := w.growth(); ok {
		t.Error("growth without a sample")
	}
	w.add(sample{disktest.Epoch, 1000})
	if _, ok := w.growth(); ok {
		t.Error("growth from one sample")
	}
	w.add(sample{disktest.Epoch.Add(10 * time.Second), 900})
	if got, _ := w.growth(); got != 10 {
		t.Errorf("growth %v, want 10", got)
	}
	// A pass that took longer than the window still has two samples.
	w.add(sample{disktest.Epoch.Add(time.Hour), 900})
	if got, ok := w.growth(); !ok || got != 0 {
		t.Errorf("growth %v, %v, want 0", got, ok)
	}
	// The clock was set back.
	w.add(sample{disktest.Epoch, 500})
	if _, ok := w.growth(); ok {
		t.Error("growth across a clock that went backwards")
	}
}

func TestSecondsUntil(t *testing.T) {
	for _, c := range []struct {
		avail, floor uint64
		rate, want   float64 // want NaN: never
	}{
		{1000, 400, 10, 60},
		{400, 400, 10, 0},
		{300, 400, -10, 0},
		{1000, 400, 0, math.NaN()},
		{1000, 0, -1, math.NaN()},
	} {
		got := secondsUntil(c.avail, c.floor, c.rate)
		if got == nil && math.IsNaN(c.want) {
			continue
		}
		if got == nil || *got != c.want {
			t.Errorf("secondsUntil(%d, %d, %v) = %v, want %v", c.avail, c.floor, c.rate, got, c.want)
		}
	}
}
