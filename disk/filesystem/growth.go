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

// window keeps the samples of the last while.
type window struct {
	span    time.Duration
	samples []sample
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
	for len(w.samples) > 2 && s.at.Sub(w.samples[1].at) >= w.span {
		w.samples = slices.Delete(w.samples, 0, 1)
	}
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
	deltas := make([]float64, len(w.samples)-1)
	for i := range deltas {
		a, b := w.samples[i], w.samples[i+1]
		deltas[i] = (float64(a.avail) - float64(b.avail)) / b.at.Sub(a.at).Seconds()
	}
	slices.Sort(deltas)
	if n := len(deltas); n%2 == 0 {
		return (deltas[n/2-1] + deltas[n/2]) / 2, true
	}
	return deltas[len(deltas)/2], true
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
		f.SecondsToFull = secondsUntil(f.AvailBytes, 0, rate)
		if f.EvictionAvailBytes != nil {
			f.SecondsToEviction = secondsUntil(f.AvailBytes, *f.EvictionAvailBytes, rate)
		}
	}
}
