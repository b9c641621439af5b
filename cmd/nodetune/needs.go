package main

import (
	"slices"
	"sync"

	"github.com/nodetune/nodetune/sysctl"
)

// needs are the floors that other tasks ask the floors' task for. What was
// asked for once stays asked for: a limit that was raised because it was needed
// is not up for another writer to lower when the need is met.
type needs struct {
	mu  sync.Mutex
	all []sysctl.Need
}

// ask adds n, and reports whether that is more than was asked for before.
func (s *needs) ask(n sysctl.Need) bool {
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

// asked returns what was asked for, one need for each key.
func (s *needs) asked() []sysctl.Need {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}
