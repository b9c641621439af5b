package reporter

import (
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/sysctl"
)

// PodRoom is how many more pods like those that run fit on the node, as far as
// inotify and descriptors go.
type PodRoom struct {
	Pods int `json:"pods"` // that run
	// Limits is sorted: the limit that is met first is the first one.
	Limits []inotify.PodRoom `json:"limits"`
}

// PodRoom returns nil where no pod was seen. p has the agent's own ceilings.
func (s Snapshot) PodRoom(p inotify.Policy) *PodRoom {
	if s.Inotify.Err != nil || s.Inotify.At.IsZero() {
		return nil
	}
	pods := s.Inotify.Value.PodsSeen()
	if s.Disk.Err == nil {
		for _, w := range s.Disk.Value.Producers {
			switch {
			case w.Kind != logs.KindContainer:
			case w.PodUID != "":
				pods[w.PodUID] = true
			case w.Pod != "":
				pods[w.Namespace+"/"+w.Pod] = true
			}
		}
	}
	room := inotify.RoomForPods(s.Inotify.Value, len(pods), s.Ceilings(p))
	if len(room) == 0 {
		return nil
	}
	return &PodRoom{Pods: len(pods), Limits: room}
}

// Ceilings are up to where the agent raises what is charged to accounts: the ceiling of
// the rule, or that of p where it is lower.
func (s Snapshot) Ceilings(p inotify.Policy) map[inotify.Resource]inotify.Limit {
	all := make(map[inotify.Resource]inotify.Limit)
	if s.Sysctl.Err != nil {
		return all
	}
	for _, r := range s.Sysctl.Value.Rules {
		if r.Op != sysctl.AtLeast || !r.Ceiling.Known() {
			continue
		}
		switch {
		case sysctl.SameVariable(r.Key, sysctl.MaxUserInstances):
			all[inotify.Instances] = lower(r.Ceiling, p.MaxInstances)
		case sysctl.SameVariable(r.Key, sysctl.MaxUserWatches):
			memory := s.Inotify.Value.Limits.MemoryBytes
			if memory <= 0 || p.WatchMemoryPercent <= 0 { // unknown, or no policy
				all[inotify.Watches] = inotify.Limit(r.Ceiling)
				continue
			}
			all[inotify.Watches] = lower(r.Ceiling, p.MaxWatches(memory))
		}
	}
	return all
}

// lower is the ceiling of a rule, or that of the policy where it has a lower one.
func lower(rule sysctl.Value, policy int64) inotify.Limit {
	if policy > 0 && policy < int64(rule) {
		return inotify.Limit(policy)
	}
	return inotify.Limit(rule)
}
