package reporter

import (
	"sync"
)

// Store is the Snapshot of an agent, of which each task replaces its own part.
// What reads it waits for no pass.
type Store struct {
	mu       sync.Mutex
	snapshot Snapshot
}

// Snapshot returns the last results. Their slices are shared: do not change
// them.
func (l *Store) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snapshot
}

// Update lets change replace a part.
func (l *Store) Update(change func(*Snapshot)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.snapshot)
}
