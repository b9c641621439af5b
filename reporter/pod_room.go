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

// PodRoom returns nil where no pod was seen.
func (s Snapshot) PodRoom() *PodRoom {
	if s.Inotify.Err != nil || s.Inotify.At.IsZero() {
		return nil
	}
	pods := s.Inotify.Value.PodsSeen()
	if s.Disk.Err == nil {
		for _, p := range s.Disk.Value.Producers {
			switch {
			case p.Kind != logs.KindContainer:
			case p.PodUID != "":
				pods[p.PodUID] = true
			case p.Pod != "":
				pods[p.Namespace+"/"+p.Pod] = true
			}
		}
	}
	room := inotify.RoomForPods(s.Inotify.Value, len(pods), s.ceilings())
	if len(room) == 0 {
		return nil
	}
	return &PodRoom{Pods: len(pods), Limits: room}
}

// ceilings are up to where the agent raises what is charged to accounts.
func (s Snapshot) ceilings() map[inotify.Resource]inotify.Limit {
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
			all[inotify.Instances] = inotify.Limit(r.Ceiling)
		case sysctl.SameVariable(r.Key, sysctl.MaxUserWatches):
			all[inotify.Watches] = inotify.Limit(r.Ceiling)
		}
	}
	return all
}
