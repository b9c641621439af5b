package reporter

import "sync"

// Latest is the Snapshot of an agent, of which each task replaces its own part.
// What reads it waits for no pass.
type Latest struct {
	mu       sync.Mutex
	snapshot Snapshot
}

// Snapshot returns the last results. Their slices are shared: do not change
// them.
func (l *Latest) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snapshot
}

// Put lets change replace a part.
func (l *Latest) Put(change func(*Snapshot)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.snapshot)
}
