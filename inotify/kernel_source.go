package inotify

import (
	"github.com/nodetune/nodetune/internal/procwalk"
)

// DescriptorTableScan is what a walk through all descriptor tables found, each instance once.
type DescriptorTableScan struct {
	Instances []TableInstance
	// Holders are the processes that hold one, those that have 48 descriptors
	// or more, and those that use half of their RLIMIT_NOFILE. A process whose
	// threads have tables of their own is one.
	Holders []FDHolder
	// Above has, for every user namespace in which an instance is charged, the
	// accounts in the namespaces above that it is charged to as well.
	Above map[uint64][]Owner
	Walk  procwalk.Stats
	// Gaps states what had no room in a walk, with its number.
	Gaps []Gap
}

// TableInstance is an instance that a descriptor table refers to.
type TableInstance struct {
	// Number stays the same from one answer to the next.
	Number  uint64
	Creator Owner // the account that created it, which another process may hold now
	Watches int64
	// Uncounted: there are more watches than were counted.
	Uncounted bool
	// QueuedEvents wait to be read, of at most QueuedEventsLimit: what comes
	// then is lost, with the event IN_Q_OVERFLOW. The limit is what
	// fs.inotify.max_queued_events was when the instance was made.
	QueuedEvents, QueuedEventsLimit int64
}

// FDHolder is a process.
type FDHolder struct {
	PID                    int // in the pid namespace of the node
	Start                  uint64
	UID                    uint32 // effective
	UserNS                 uint64
	Comm, Cgroup           string
	FDs                    int64 // of its fullest descriptor table
	NOFILESoft, NOFILEHard Limit
	Instances              []int // indexes of Held.Instances, each once
}

// HolderSource finds the holders of instances without procfs. It returns all of
// them, or an error.
type HolderSource interface {
	Holders() (DescriptorTableScan, error)
}

// NoHolderSource is a holder source that does not work here. Why is the reason.
type NoHolderSource struct{ Why error }

// Holders returns the reason.
func (n NoHolderSource) Holders() (DescriptorTableScan, error) { return DescriptorTableScan{}, n.Why }
