package procscan

import (
	"testing"

	"github.com/nodetune/nodetune/inotify"
)

func TestLearn(t *testing.T) {
	for _, c := range []struct {
		name    string
		counted int64
		h       inotify.Headroom
		want    int64
		quality inotify.Quality
	}{
		{"refused after three", 40, inotify.Headroom{Granted: 3, Exact: true}, 125, inotify.Exact},
		{"more were counted than can be", 127, inotify.Headroom{Granted: 8}, 120, inotify.UpperBound},
		{"all were granted", 40, inotify.Headroom{Granted: 8}, 40, inotify.Estimate},
		{"refused at once", 40, inotify.Headroom{Exact: true}, 128, inotify.Estimate},
		{"refused above a lowered limit", 200, inotify.Headroom{Exact: true}, 200, inotify.Estimate},
	} {
		a := inotify.Account{Instances: c.counted, InstancesLimit: 128, InstancesQuality: inotify.Estimate, WatchesQuality: inotify.Estimate}
		applyProbe(&a, c.h)
		if a.Instances != c.want || a.InstancesQuality != c.quality || a.Headroom == nil || *a.Headroom != c.h {
			t.Errorf("%s: got %d (%s)", c.name, a.Instances, a.InstancesQuality)
		}
	}
}
