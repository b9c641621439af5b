package inotify

import (
	"encoding/json"
	"time"

	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// Quality is how exact a figure is.
type Quality string

// The qualities, from best to worst.
const (
	// Exact is what the kernel itself counts at that time.
	Exact Quality = "exact"
	// UpperBound is never below the truth.
	UpperBound Quality = "upper_bound"
	// Estimate may be off in either direction; [Usage].Unknown has the reason.
	Estimate Quality = "estimate"
	// Unknown is a figure that could not be measured; it is 0.
	Unknown Quality = "unknown"
)

var rank = map[Quality]int{Exact: 0, UpperBound: 1, Estimate: 2, Unknown: 3}

// Worse returns the worse of two qualities: that of a sum.
func Worse(a, b Quality) Quality {
	if rank[b] > rank[a] {
		return b
	}
	return a
}

// Limit is a limit of the kernel, or [NoLimit] where none is known.
type Limit int64

// NoLimit stands for a limit that could not be read or does not exist. It is
// null in JSON.
const NoLimit Limit = -1

// MarshalJSON writes an unknown limit as null.
func (l Limit) MarshalJSON() ([]byte, error) {
	if l < 0 {
		return []byte("null"), nil
	}
	return json.Marshal(int64(l))
}

// UnmarshalJSON reads null as an unknown limit.
func (l *Limit) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*l = NoLimit
		return nil
	}
	return json.Unmarshal(b, (*int64)(l))
}

// Percent returns how much of l used is; 0 where there is no limit.
func (l Limit) Percent(used int64) float64 {
	switch {
	case l < 0 || used <= 0:
		return 0
	case l == 0:
		return 100
	}
	return 100 * float64(used) / float64(l)
}

// Owner is the account that the kernel charges.
type Owner struct {
	UserNS uint64 `json:"userns"` // inode number of the user namespace, namespaces(7)
	UID    uint32 `json:"uid"`    // as seen from nodetune's user namespace
}

// InitialUserNS is PROC_USER_INIT_INO, the inode number of the initial user
// namespace since Linux 3.8 (include/linux/proc_ns.h).
const InitialUserNS = 0xEFFFFFFD

// Account is what one owner uses of its limits.
type Account struct {
	Owner
	// Level is how many user namespaces are above that of the owner. The limits
	// of an account below the initial namespace are set by the process that made
	// the namespace, so they are no limits of the node.
	Level          int   `json:"level,omitempty"`
	Instances      int64 `json:"instances"`
	InstancesLimit Limit `json:"instances_limit"`
	Watches        int64 `json:"watches"`
	WatchesLimit   Limit `json:"watches_limit"`
	// Quality is the worse one of the two figures'.
	Quality          Quality `json:"quality"`
	InstancesQuality Quality `json:"instances_quality"`
	WatchesQuality   Quality `json:"watches_quality"`
	// WatchesAgeSeconds is the age of the oldest count in Watches: large
	// instances are counted less often.
	WatchesAgeSeconds int64 `json:"watches_age_seconds"`
	// InstancesUnattributed are charged to the account, and held by no process:
	// they are in flight. Where holders are from procfs, their creator may have
	// changed its uid as well. It is 0 where the kernel was not asked.
	InstancesUnattributed int64 `json:"instances_unattributed,omitempty"`
	// TopPID holds the most instances of the account, TopWatchesPID the most
	// watches; 0 where the holder is not known.
	TopPID        int `json:"top_pid"`
	TopWatchesPID int `json:"top_watches_pid"`
	// Headroom is set where a probe has asked the kernel.
	Headroom *Headroom `json:"instances_headroom,omitempty"`
	// Growth is set by an agent after some passes.
	Growth *Growth `json:"growth,omitempty"`
}

// Process is what one process holds. An instance that several processes share
// is held by each of them, and charged once.
type Process struct {
	PID            int     `json:"pid"`
	Start          uint64  `json:"start_ticks"` // after boot, proc_pid_stat(5)
	UID            uint32  `json:"uid"`         // effective
	UserNS         uint64  `json:"userns"`
	Comm           string  `json:"comm"` // as the program set it: print it through internal/safetext
	Instances      int64   `json:"instances"`
	Watches        int64   `json:"watches"`
	FDs            int64   `json:"fds"` // of its fullest descriptor table
	NOFILESoft     Limit   `json:"nofile_soft"`
	NOFILEHard     Limit   `json:"nofile_hard"`
	Quality        Quality `json:"quality"` // of Instances
	WatchesQuality Quality `json:"watches_quality"`
	// WatchesAgeSeconds is the age of the oldest count in Watches.
	WatchesAgeSeconds int64 `json:"watches_age_seconds"`
	// QueuedEvents wait to be read in the fullest queue of its instances, of at
	// most QueuedEventsLimit; both are 0 where holders are from procfs, which
	// does not show them.
	QueuedEvents      int64 `json:"queued_events"`
	QueuedEventsLimit int64 `json:"queued_events_limit"`
	// EventsUnreadSeconds is for how long one of its queues was seen neither
	// empty nor to become shorter.
	EventsUnreadSeconds int64  `json:"events_unread_seconds"`
	Cgroup              string `json:"cgroup"`
	// Growth is set by an agent after some passes, where the process uses half of
	// its RLIMIT_NOFILE.
	Growth *Growth `json:"growth,omitempty"`

	// Where the process belongs, as far as its cgroup says.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Unit      string `json:"unit,omitempty"`

	// CgroupWorkload is the workload that its cgroup belongs to.
	CgroupWorkload workload.Workload `json:"-"`
}

// Process returns the process with this pid, if it is listed.
func (u *Usage) Process(pid int) (Process, bool) {
	for i := range u.Processes {
		if u.Processes[i].PID == pid {
			return u.Processes[i], true
		}
	}
	return Process{}, false
}

// Limits are the limits of this node.
type Limits struct {
	Instances    Limit `json:"max_user_instances"` // fs.inotify.max_user_instances, per account
	Watches      Limit `json:"max_user_watches"`   // fs.inotify.max_user_watches, per account
	QueuedEvents Limit `json:"max_queued_events"`  // fs.inotify.max_queued_events, per instance
	FileMax      Limit `json:"file_max"`           // fs.file-max, of the node
	NrOpen       Limit `json:"nr_open"`            // fs.nr_open, the most RLIMIT_NOFILE can be
	OpenFiles    int64 `json:"open_files"`         // fs.file-nr
	MemoryBytes  int64 `json:"memory_bytes"`       // MemTotal, proc_meminfo(5)
}

// Gap is something a pass could not know.
type Gap struct {
	What string `json:"what"`
	Why  string `json:"why"`
	// Processes is how many it concerns; 0 where it is not about processes.
	Processes int `json:"processes,omitempty"`
}

// The sources of what accounts use, and of who holds it.
const (
	SourceKernel = "ebpf"      // the kernel's own counters: of accounts alone
	SourceWalk   = "ebpf_walk" // a walk through the descriptor tables in the kernel
	SourceProcfs = "procfs"    // a walk of procfs
)

// Usage is what one pass saw.
type Usage struct {
	// Source is where the figures of accounts are from.
	Source string `json:"source"`
	// SourceReason is why it is not the kernel's counters.
	SourceReason string `json:"source_reason,omitempty"`
	// HoldersSource is where the figures of processes are from.
	HoldersSource string `json:"holders_source"`
	// HoldersReason is why it is not the walk in the kernel.
	HoldersReason string `json:"holders_source_reason,omitempty"`
	Limits        Limits `json:"limits"`

	// Instances and Watches are those of the node, each counted once.
	Instances        int64   `json:"instances"`
	InstancesQuality Quality `json:"instances_quality"`
	Watches          int64   `json:"watches"`
	WatchesQuality   Quality `json:"watches_quality"`

	// InstancesUnattributed are charged, and in no process's table: a
	// descriptor that was sent through a socket and not received yet. Those
	// made or closed during the pass count as well.
	InstancesUnattributed int64 `json:"instances_unattributed,omitempty"`

	// Accounts is sorted by use, the fullest first.
	Accounts []Account `json:"owners"`
	// Processes are those that hold an instance, that use at least half of
	// their RLIMIT_NOFILE, or that are among the 32 with most descriptors and
	// have 48 or more; most instances first.
	Processes []Process `json:"processes"`

	// OpenFilesPerHour is how fast the node's open files grow; nil where it is not
	// known yet.
	OpenFilesPerHour *float64 `json:"open_files_per_hour,omitempty"`

	// Findings are the limits that are used for the policy's share or more,
	// as [Pressure] finds them.
	Findings []LimitPressure `json:"findings"`

	// Refusals are the failed calls of the last ten minutes, the latest first, if
	// they are traced.
	Refusals []SyscallFailure `json:"refusals,omitempty"`
	// RefusalSource is how they are traced; empty in a report of one pass, which
	// traces nothing.
	RefusalSource

	Walk procwalk.Stats `json:"walk"`
	// OwnPIDNamespace: the walk saw the processes of nodetune's own pid namespace
	// only, which is not that of the node.
	OwnPIDNamespace bool `json:"own_pid_namespace,omitempty"`
	// Partial: no walk of the last five minutes has seen all processes, since a pass is
	// bounded. Accounts and Processes are empty where the kernel does not count them.
	Partial bool `json:"partial,omitempty"`
	// Unseen is why a limit of the node may be under pressure although Findings
	// has none, as [Unseen] returns it.
	Unseen string `json:"unseen,omitempty"`
	// Unknown lists what this pass could not know, and why.
	Unknown []Gap `json:"unknown"`
	// Took is the time of the pass.
	Took time.Duration `json:"-"`
}

// Headroom is what a probe found: how many more instances the kernel grants
// to a user now.
type Headroom struct {
	Granted int `json:"granted"`
	// Exact is false where all that were asked for were granted: there may
	// be more.
	Exact bool `json:"exact"`
}

// Name fills in the workload of every process, as far as its cgroup and the
// names of the node's log directories show it. The caller refreshes the index.
func (u *Usage) Name(x *workload.Index) {
	for i := range u.Processes {
		u.Processes[i].Name(x)
	}
}

// Name fills in the workload of the process.
func (p *Process) Name(x *workload.Index) {
	if p.CgroupWorkload == (workload.Workload{}) {
		p.CgroupWorkload = workload.FromCgroupPath(p.Cgroup)
	}
	w := x.Named(p.CgroupWorkload)
	p.Namespace, p.Pod, p.Container, p.Unit = w.Namespace, w.Pod, w.Container, w.Unit
}
