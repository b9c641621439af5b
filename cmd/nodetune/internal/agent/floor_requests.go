package agent

import (
	"slices"
	"sync"

	"github.com/nodetune/nodetune/sysctl"
)

// floorRequests are the floors that other tasks ask the floors' task for. What was
// asked for once stays asked for: a limit that was raised because it was needed
// is not up for another writer to lower when the need is met.
type floorRequests struct {
	mu  sync.Mutex
	all []sysctl.Need
}

// request adds n, and reports whether that is more than was asked for before.
func (s *floorRequests) request(n sysctl.Need) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.all, func(m sysctl.Need) bool { return m.Key == n.Key })
	switch {
	case i < 0:
		s.all = append(s.all, n)
	case n.AtLeast > s.all[i].AtLeast:
		s.all[i] = n
	default:
		return false
	}
	return true
}

// requested returns what was asked for, one need for each key.
func (s *floorRequests) requested() []sysctl.Need {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}
