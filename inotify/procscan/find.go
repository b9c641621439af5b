package procscan

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// ProcessName is a process with the names it can be found by.
type ProcessName struct {
	PID  int
	Comm string
	workload.Workload
}

// Find returns the processes that match name: their comm, their pod
// (NAME, NAMESPACE/NAME or either with :CONTAINER), or their systemd unit. If
// none matches, it returns those that contain name in one of these. The order is
// that of the pids.
func (s *Scanner) Find(ctx context.Context, name string, x *workload.Index) ([]ProcessName, error) {
	var exact, similar []ProcessName
	visit := procwalk.Visitor{Enter: func(p *procwalk.Process) bool {
		if p.TID != p.PID {
			return false
		}
		stat, err := p.Stat()
		if err != nil || stat.KernelThread {
			return false
		}
		n := ProcessName{PID: p.PID, Comm: string(stat.Comm())}
		if w, err := p.Workload(); err == nil {
			n.Workload = x.Named(w)
		}
		switch {
		case n.matches(name):
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
	slices.SortFunc(found, func(a, b ProcessName) int { return cmp.Compare(a.PID, b.PID) })
	return found, nil
}

func (n ProcessName) matches(name string) bool {
	if n.Comm == name || len(name) > inotify.MaxComm && n.Comm == name[:inotify.MaxComm] {
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

func (n ProcessName) resembles(name string) bool {
	return strings.Contains(n.Comm, name) || strings.Contains(n.Unit, name) ||
		n.Pod != "" && strings.Contains(n.Namespace+"/"+n.Pod+":"+n.Container, name)
}

// withoutSandboxes drops the pause process of a pod that has others: it opens
// nothing, so a user who names the pod does not mean it.
func withoutSandboxes(found []ProcessName) []ProcessName {
	has := map[string]bool{}
	for _, n := range found {
		if n.Container != "" {
			has[n.PodUID] = true
		}
	}
	return slices.DeleteFunc(found, func(n ProcessName) bool {
		return n.PodUID != "" && n.Container == "" && has[n.PodUID]
	})
}
