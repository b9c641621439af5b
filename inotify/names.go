package inotify

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// Name fills in whom every process belongs to, as far as its cgroup and the
// names of the node's log directories say. The index is refreshed by the
// caller.
func (u *Usage) Name(x *workload.Index) {
	for i := range u.Processes {
		u.Processes[i].Name(x)
	}
}

// Name fills in whom the process belongs to.
func (p *Process) Name(x *workload.Index) {
	if p.CgroupWorkload == (workload.Workload{}) {
		p.CgroupWorkload = workload.FromCgroupPath(p.Cgroup)
	}
	w := x.Named(p.CgroupWorkload)
	p.Namespace, p.Pod, p.Container, p.Unit = w.Namespace, w.Pod, w.Container, w.Unit
}

// Named is a process that goes by a name.
type Named struct {
	PID  int
	Comm string
	workload.Workload
}

// Find returns the processes that go by name: their comm, their pod
// (NAME, NAMESPACE/NAME or either with :CONTAINER), or their systemd unit. If
// none does, it returns those that have name in one of these. The order is
// that of the pids.
func (s *Scanner) Find(ctx context.Context, name string, x *workload.Index) ([]Named, error) {
	var exact, similar []Named
	visit := procwalk.Visitor{Enter: func(p *procwalk.Process) bool {
		if p.TID != p.PID {
			return false
		}
		stat, err := p.Stat()
		if err != nil || stat.KernelThread {
			return false
		}
		n := Named{PID: p.PID, Comm: string(stat.Comm())}
		if w, err := p.Workload(); err == nil {
			n.Workload = x.Named(w)
		}
		switch {
		case n.goesBy(name):
			exact = append(exact, n)
		case n.resembles(name):
			similar = append(similar, n)
		}
		return false
	}}
	if _, err := s.walker.Walk(ctx, &visit); err != nil {
		return nil, err
	}
	found := exact
	if len(exact) == 0 {
		found = similar
	}
	found = withoutSandboxes(found)
	slices.SortFunc(found, func(a, b Named) int { return cmp.Compare(a.PID, b.PID) })
	return found, nil
}

// maxComm is TASK_COMM_LEN without its NUL: comm is cut there, prctl(2).
const maxComm = 15

func (n Named) goesBy(name string) bool {
	if n.Comm == name || len(name) > maxComm && n.Comm == name[:maxComm] {
		return true
	}
	if n.Unit != "" && (n.Unit == name || n.Unit == name+".service") {
		return true
	}
	if n.Pod == "" {
		return false
	}
	pod, container, some := strings.Cut(name, ":")
	if some && container != n.Container {
		return false
	}
	return pod == n.Pod || pod == n.Namespace+"/"+n.Pod
}

func (n Named) resembles(name string) bool {
	return strings.Contains(n.Comm, name) || strings.Contains(n.Unit, name) ||
		n.Pod != "" && strings.Contains(n.Namespace+"/"+n.Pod+":"+n.Container, name)
}

// withoutSandboxes drops the pause process of a pod that has others: it opens
// nothing, and nobody means it.
func withoutSandboxes(found []Named) []Named {
	has := map[string]bool{}
	for _, n := range found {
		if n.Container != "" {
			has[n.PodUID] = true
		}
	}
	return slices.DeleteFunc(found, func(n Named) bool {
		return n.PodUID != "" && n.Container == "" && has[n.PodUID]
	})
}
