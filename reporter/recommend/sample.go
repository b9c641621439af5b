package recommend

import (
	"fmt"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// Sample is what one report shows of one key on one node.
type Sample struct {
	Node    string // the name of the report
	Key     sysctl.Key
	Value   sysctl.Value // in force; Unknown where it was not read
	Want    sysctl.Value // the floor of the node's configuration
	Ceiling sysctl.Value // of the node's configuration
	Needs   sysctl.Value // what use asks for; Unknown where it was not measured
	Reason  string       // of Needs, or why it is not known
	Held    string       // why Needs is not more
}

// keys are those whose use is measured.
var keys = []sysctl.Key{sysctl.MaxUserInstances, sysctl.MaxUserWatches, sysctl.FileMax}

// Observe returns the samples of the report of node.
func Observe(node string, d reporter.Document, p inotify.Policy) []Sample {
	var samples []Sample
	for _, key := range keys {
		s := Sample{Node: node, Key: key, Value: sysctl.Unknown, Want: sysctl.Unknown, Ceiling: sysctl.Unknown, Needs: sysctl.Unknown, Reason: "the report has no usage"}
		if d.Sysctl != nil {
			for _, r := range d.Sysctl.Rules {
				if r.Key == key {
					s.Value, s.Want, s.Ceiling = r.Value, r.Want, r.Ceiling
				}
			}
		}
		if d.Inotify != nil {
			s.measure(*d.Inotify, p)
		}
		samples = append(samples, s)
	}
	return samples
}

// measure adds what u shows of the key.
func (s *Sample) measure(u inotify.Usage, p inotify.Policy) {
	limit, quality := u.Limits.FileMax, inotify.Exact
	switch s.Key {
	case sysctl.MaxUserInstances:
		limit, quality = u.Limits.Instances, u.InstancesQuality
	case sysctl.MaxUserWatches:
		limit, quality = u.Limits.Watches, u.WatchesQuality
	}
	s.Value = max(s.Value, sysctl.Value(limit))
	if quality == inotify.Unknown || quality == "" {
		s.Reason = "use could not be counted"
		return
	}
	if s.Key == sysctl.FileMax {
		if u.Limits.OpenFiles <= 0 {
			s.Reason = "use could not be counted"
			return
		}
		s.Needs = sysctl.Value(p.FloorFor(u.Limits.OpenFiles))
		s.Reason = fmt.Sprintf("the node has %d open files, and at most %g %% are to be in use", u.Limits.OpenFiles, p.RaisePercent)
		return
	}
	s.Needs, s.Reason = 0, "no user of the node uses it"
	for _, f := range inotify.Floors(u, p) {
		if f.Key == string(s.Key) {
			s.Needs, s.Reason, s.Held = sysctl.Value(f.AtLeast), f.Reason, f.HeldBack
		}
	}
	switch quality {
	case inotify.Estimate:
		s.Reason += " (an estimate)"
	case inotify.UpperBound:
		s.Reason += " (at most)"
	}
}
