package filesystem

import (
	"slices"
	"time"
)

// sample is what was available at one moment.
type sample struct {
	at    time.Time
	avail uint64
}

// slowSpan is over how long the mean growth is taken: long enough for several of the
// bursts that fill a disk, of which a window of two minutes often has none.
const slowSpan = 10 * time.Minute

// window keeps the samples of the last while.
type window struct {
	span    time.Duration // of the median
	samples []sample      // of slowSpan, or of span where that is longer
}

// add appends s and forgets what is older than the span. A clock that went
// backwards begins again: its differences mean nothing.
func (w *window) add(s sample) {
	if n := len(w.samples); n > 0 && !s.at.After(w.samples[n-1].at) {
		w.samples = w.samples[:0]
	}
	w.samples = append(w.samples, s)
	// One sample from before the span stays, so that a pass slower than the
	// span still has a difference.
	for len(w.samples) > 2 && s.at.Sub(w.samples[1].at) >= max(w.span, slowSpan) {
		w.samples = slices.Delete(w.samples, 0, 1)
	}
}

// last returns the samples of the last span, and one from before it.
func (w *window) last(span time.Duration) []sample {
	all := w.samples
	for len(all) > 2 && w.samples[len(w.samples)-1].at.Sub(all[1].at) >= span {
		all = all[1:]
	}
	return all
}

// growth returns the median speed at which the available bytes shrink, and
// whether there are two samples to compute it from.
//
// Rotation and compression give space back in steps: a sawtooth. A median of
// the differences between neighbours ignores the steps as long as they are
// fewer than half, where a line through the points would bend at each.
func (w *window) growth() (bytesPerSecond float64, ok bool) {
	if len(w.samples) < 2 {
		return 0, false
	}
	return median(speeds(w.last(w.span))), true
}

// forecast returns the speed with which the time until the disk is full is computed.
//
// While the disk fills steadily that is the median, and at least what the last ten
// minutes lost from end to end. A disk that fills in bursts has none in most
// differences, or in half of them, and the median jumps between nothing and the speed of
// a burst: there it is what the last ten minutes lost.
func (w *window) forecast() (bytesPerSecond float64, ok bool) {
	if len(w.samples) < 2 {
		return 0, false
	}
	fast, slow := w.last(w.span), w.last(slowSpan)
	all := speeds(fast)
	rate := median(all)
	steady := all[len(all)/4] >= rate/2
	long := slow[len(slow)-1].at.Sub(slow[0].at) >= slowSpan/2
	switch {
	case steady && long:
		return max(rate, slope(slow)), true
	case steady:
		return rate, true
	case long:
		return slope(slow), true
	}
	return min(rate, slope(fast)), true
}

// speeds returns the speeds between neighbours, the lowest first.
func speeds(all []sample) []float64 {
	deltas := make([]float64, len(all)-1)
	for i := range deltas {
		deltas[i] = slope(all[i : i+2])
	}
	slices.Sort(deltas)
	return deltas
}

// median returns the median of numbers in order.
func median(all []float64) float64 {
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// slope returns the speed from the first sample to the last one.
func slope(all []sample) float64 {
	a, b := all[0], all[len(all)-1]
	return (float64(a.avail) - float64(b.avail)) / b.at.Sub(a.at).Seconds()
}

// secondsUntil returns when avail reaches floor at this speed: 0 where it is
// below already, nil where it never does.
func secondsUntil(avail, floor uint64, bytesPerSecond float64) *float64 {
	var s float64
	switch {
	case avail <= floor:
	case bytesPerSecond <= 0:
		return nil
	default:
		s = float64(avail-floor) / bytesPerSecond
	}
	return &s
}

// GrowthTracker keeps the window of each filesystem between passes.
type GrowthTracker struct {
	span    time.Duration
	windows map[string]*window // by device
}

// NewGrowthTracker returns a tracker whose windows are span long.
func NewGrowthTracker(span time.Duration) *GrowthTracker {
	return &GrowthTracker{span: span, windows: map[string]*window{}}
}

// Update adds what only several passes show: growth, and with it the time until
// the disk is full or the kubelet, whose thresholds these are, evicts.
func (g *GrowthTracker) Update(all []Filesystem, thresholds []map[string]string, now time.Time) {
	for i := range all {
		f := &all[i]
		if !f.Measured() || f.SizeBytes == 0 {
			delete(g.windows, f.Device) // its last figures say nothing about now
			continue
		}
		setEviction(f, thresholds...)
		w := g.windows[f.Device]
		if w == nil {
			w = &window{span: g.span}
			g.windows[f.Device] = w
		}
		w.add(sample{now, f.AvailBytes})
		rate, ok := w.growth()
		if !ok {
			continue
		}
		f.GrowthBytesPerSecond = &rate
		speed, _ := w.forecast()
		f.ShortWindow = now.Sub(w.samples[0].at) < w.span
		f.SecondsToFull = secondsUntil(f.AvailBytes, 0, speed)
		if f.EvictionAvailBytes != nil {
			f.SecondsToEviction = secondsUntil(f.AvailBytes, *f.EvictionAvailBytes, speed)
		}
	}
}
