package inotify

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// PodRoom is how many more pods like those that run fit below one limit of the
// node.
type PodRoom struct {
	Resource Resource `json:"resource"`
	// Owner is set for what is charged to an account.
	Owner *Owner `json:"owner,omitempty"`
	Used  int64  `json:"used"`
	Limit Limit  `json:"limit"`
	// PerPod is what one more pod takes.
	PerPod float64 `json:"per_pod"`
	// More is how many more pods fit below Limit.
	More int64 `json:"more"`
	// Ceiling is up to where the agent raises the limit, and MoreBelowCeiling how
	// many more pods fit below that. Both are null where there is none.
	Ceiling          Limit  `json:"ceiling"`
	MoreBelowCeiling *int64 `json:"more_below_ceiling,omitempty"`
	// AtLeast: PerPod includes what does not grow with pods, so more may fit.
	AtLeast bool `json:"at_least,omitempty"`
}

// RoomForPods returns how many more pods fit below each limit of the node, the
// limit that is met first at the beginning. pods is how many run. It is pure.
//
// A pod is taken to need what the average pod holds. Instances are those of
// processes in pods and of their runtime's shims. For watches and open files all
// that is in use counts, since the kubelet and collectors outside of pods need
// some for each pod as well.
func RoomForPods(u Usage, pods int, ceilings map[Resource]Limit) []PodRoom {
	if pods < 1 {
		return nil
	}
	var all []PodRoom
	add := func(r PodRoom, ofPods int64) {
		r.PerPod = float64(ofPods) / float64(pods)
		if ofPods <= 0 || r.Limit < 0 {
			return
		}
		r.More = fits(r.Used, r.Limit, r.PerPod)
		r.Ceiling = NoLimit
		if c, ok := ceilings[r.Resource]; ok && c >= 0 {
			r.Ceiling = max(c, r.Limit) // a limit above its ceiling is not lowered
			more := fits(r.Used, r.Ceiling, r.PerPod)
			r.MoreBelowCeiling = &more
		}
		all = append(all, r)
	}
	for i := range u.Accounts {
		a := &u.Accounts[i]
		if a.Level > 0 {
			continue // has limits of its own namespace
		}
		if a.InstancesQuality != Unknown {
			var held int64
			for j := range u.Processes {
				if p := &u.Processes[j]; (Owner{UserNS: p.UserNS, UID: p.UID}) == a.Owner && (p.inPod() || p.isShim()) {
					held += p.Instances
				}
			}
			// Processes may share an instance, which is charged once.
			add(PodRoom{Resource: Instances, Owner: &a.Owner, Used: a.Instances, Limit: a.InstancesLimit}, min(held, a.Instances))
		}
		if a.WatchesQuality != Unknown {
			add(PodRoom{Resource: Watches, Owner: &a.Owner, Used: a.Watches, Limit: a.WatchesLimit, AtLeast: true}, a.Watches)
		}
	}
	add(PodRoom{Resource: OpenFiles, Used: u.Limits.OpenFiles, Limit: u.Limits.FileMax, AtLeast: true}, u.Limits.OpenFiles)
	slices.SortStableFunc(all, func(a, b PodRoom) int { return cmp.Compare(a.More, b.More) })
	return all
}

// fits returns how many times each fits between used and limit.
func fits(used int64, limit Limit, each float64) int64 {
	if int64(limit) <= used {
		return 0
	}
	return int64(min(float64(int64(limit)-used)/each, math.MaxInt32))
}

// inPod reports whether the cgroup of the process is that of a pod.
func (p *Process) inPod() bool { return p.Pod != "" || p.CgroupWorkload.PodUID != "" }

// isShim reports whether p is what a container runtime starts for each pod or
// container: containerd's shim, or conmon. It runs outside of pods, where no
// container chooses the name.
func (p *Process) isShim() bool {
	return !p.inPod() && (strings.HasPrefix(p.Comm, "containerd-shim") || p.Comm == "conmon" || p.Comm == "conmonrs")
}

// PodsSeen returns the pods whose processes are among those of u, by UID, or by
// name where that is not known.
func (u *Usage) PodsSeen() map[string]bool {
	pods := make(map[string]bool)
	for i := range u.Processes {
		p := &u.Processes[i]
		switch {
		case p.CgroupWorkload.PodUID != "":
			pods[p.CgroupWorkload.PodUID] = true
		case p.Pod != "":
			pods[p.Namespace+"/"+p.Pod] = true
		}
	}
	return pods
}
