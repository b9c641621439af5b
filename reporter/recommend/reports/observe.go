// Package reports reads what a recommendation follows from: a Report in all its
// detail, as this host's own packages read it, or a saved NodeStatus.
package reports

import (
	"fmt"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/recommend"
	"github.com/nodetune/nodetune/sysctl"
)

// Observe returns the samples of the report of node.
func Observe(node string, d reporter.Document, p inotify.Policy) []recommend.Sample {
	var samples []recommend.Sample
	for _, key := range recommend.Keys {
		s := recommend.NewSample(node, key)
		if d.Sysctl != nil {
			for _, r := range d.Sysctl.Rules {
				if string(r.Key) == key {
					s.Value, s.Want, s.Ceiling = recommend.Value(r.Value), recommend.Value(r.Want), recommend.Value(r.Ceiling)
				}
			}
		}
		if d.Inotify != nil {
			measure(&s, *d.Inotify, p)
		}
		samples = append(samples, s)
	}
	return samples
}

// measure adds what u shows of the key.
func measure(s *recommend.Sample, u inotify.Usage, p inotify.Policy) {
	limit, quality := u.Limits.FileMax, inotify.Exact
	switch sysctl.Key(s.Key) {
	case sysctl.MaxUserInstances:
		limit, quality = u.Limits.Instances, u.InstancesQuality
	case sysctl.MaxUserWatches:
		limit, quality = u.Limits.Watches, u.WatchesQuality
	}
	s.Value = max(s.Value, recommend.Value(limit))
	if quality == inotify.Unknown || quality == "" {
		s.Reason = recommend.NotCounted
		return
	}
	if s.Key == string(sysctl.FileMax) {
		if u.Limits.OpenFiles <= 0 {
			s.Reason = recommend.NotCounted
			return
		}
		s.Needs = recommend.Value(p.FloorFor(u.Limits.OpenFiles))
		s.Reason = fmt.Sprintf("the node has %d open files, and at most %g %% are to be in use", u.Limits.OpenFiles, p.RaisePercent)
		return
	}
	s.Needs, s.Reason = 0, recommend.NotUsed
	for _, f := range inotify.Floors(u, p) {
		if f.Key == s.Key {
			s.Needs, s.Reason, s.Held = recommend.Value(f.AtLeast), f.Reason, f.HeldBack
		}
	}
	s.Reason += recommend.Doubt(string(quality))
}
