package disk

import (
	"math"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/internal/disktest"
)

// bursts takes size bytes within dur, and again after every.
func bursts(start, size float64, every, dur time.Duration) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		n := t / every
		return start - size*float64(n) - size*min(1, float64(t%every)/float64(dur))
	}
}

// Loads that fill a disk of 100 GB of which the kubelet wants 10 %: it is predicted at
// least five minutes before, and the assessment turns once. What does not fill it is not
// predicted.
func TestForecast(t *testing.T) {
	mb := func(perSecond, seconds float64) float64 { return 1e6 * perSecond * seconds }
	for name, c := range map[string]struct {
		avail func(t time.Duration) float64
		never bool // no prediction is wanted
	}{
		"constant 50 MB/s":           {avail: func(t time.Duration) float64 { return 60e9 - mb(50, t.Seconds()) }},
		"constant 5 MB/s":            {avail: func(t time.Duration) float64 { return 20e9 - mb(5, t.Seconds()) }},
		"130 MB in 2.5 s every 45 s": {avail: bursts(30e9, 130e6, 45*time.Second, 2500*time.Millisecond)},
		"500 MB in 4 s every 15 s":   {avail: bursts(60e9, 500e6, 15*time.Second, 4*time.Second)},
		"500 MB in 4 s every 25 s":   {avail: bursts(60e9, 500e6, 25*time.Second, 4*time.Second)},
		"2 GB in 20 s every 60 s":    {avail: bursts(60e9, 2e9, time.Minute, 20*time.Second)},
		"5 GB in 60 s every 5 min":   {avail: bursts(60e9, 5e9, 5*time.Minute, time.Minute)},
		"4 GB in 60 s every 7 min":   {avail: bursts(60e9, 4e9, 7*time.Minute, time.Minute)},
		"1 GB in 5 s every 2 min":    {avail: bursts(50e9, 1e9, 2*time.Minute, 5*time.Second)},
		"4 of 5 come back every 30 s": {avail: func(t time.Duration) float64 {
			return 60e9 - mb(50, (t%(30*time.Second)).Seconds()) - mb(10, (t-t%(30*time.Second)).Seconds())
		}},
		"freed once, and filled again": {avail: func(t time.Duration) float64 {
			if t < 10*time.Minute {
				return 20e9
			}
			return 60e9 - mb(50, (t-10*time.Minute).Seconds())
		}},
		"all comes back every 2 min": {never: true, avail: func(t time.Duration) float64 { return 60e9 - mb(20, (t%(2*time.Minute)).Seconds()) }},
		"images of a node that boots": {never: true, avail: func(t time.Duration) float64 {
			a := 62e9
			for i := range 6 {
				a -= min(max(t.Seconds()-20-25*float64(i), 0)*120e6, 1.5e9)
			}
			return a
		}},
		"nothing is written": {never: true, avail: func(time.Duration) float64 { return 60e9 }},
	} {
		for _, phase := range []time.Duration{0, 1700 * time.Millisecond, 3300 * time.Millisecond, 6100 * time.Millisecond, 9900 * time.Millisecond} {
			policy := DefaultPolicy()
			policy.Pressure.AvailPercent, policy.Pressure.RecoverAvailPercent = 0, 0 // the prediction alone
			growth := filesystem.NewGrowthTracker(policy.GrowthWindow.D())
			thresholds := []map[string]string{{"nodefs.available": "10%"}}
			bad, turns, first, reached := false, 0, time.Duration(-1), time.Duration(-1)
			for at := phase; at < 5*time.Hour; at += 10 * time.Second {
				avail := c.avail(at)
				if avail <= 10e9 {
					reached = at
					break
				}
				all := []filesystem.Filesystem{{
					Path: "/", Device: "8:1", State: filesystem.StateOK, SizeBytes: 100e9, AvailBytes: uint64(math.Max(avail, 0)),
					Roles: []filesystem.Role{filesystem.RoleLogs, filesystem.RoleKubelet},
				}}
				growth.Update(all, thresholds, disktest.Epoch.Add(at))
				is := bad
				switch a := assessFilesystem(all[0], policy.Pressure); a.Severity {
				case Bad:
					is = true
				case Clear:
					is = false
				}
				if is != bad {
					bad = is
					turns++
					if first < 0 {
						first = at
					}
				}
			}
			switch {
			case c.never && first >= 0:
				t.Errorf("%s: predicted after %v", name, first)
			case c.never:
			case first < 0:
				t.Errorf("%s: not predicted, reached after %v", name, reached)
			case turns > 1:
				t.Errorf("%s, phase %v: it turned %d times", name, phase, turns)
			}
			if lead := reached - first; !c.never && first >= 0 && lead < 5*time.Minute {
				t.Errorf("%s, phase %v: %v before the threshold", name, phase, lead)
			}
		}
	}
}
