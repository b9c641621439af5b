package inotify

import (
	"time"
)

const (
	// Memory is the kernel's memory, or that of the process's cgroup: ENOMEM.
	Memory Resource = "memory"
	// InstancesOrNOFILE is an EMFILE of a process that could not be looked at.
	InstancesOrNOFILE Resource = "inotify_instances_or_nofile"
)

// SyscallFailure is calls of inotify_init1(2) or inotify_add_watch(2) by one process
// that failed in the same way.
type SyscallFailure struct {
	Call  string `json:"call"`
	Errno int    `json:"errno"`
	// Resource is what was used up; "" where it is no limit: a path that is
	// not there, or may not be read.
	Resource Resource `json:"resource,omitempty"`
	// Owner is the account at its limit, of Level user namespaces below the
	// initial one. It is nil where no account is at its limit, or where it is not known.
	Owner *Owner `json:"owner,omitempty"`
	Level int    `json:"level"`
	// Used of Limit at the first failure; of RLIMIT_NOFILE, the lowest
	// free descriptor.
	Used  int64 `json:"used"`
	Limit Limit `json:"limit"`

	PID   int       `json:"pid"` // in the pid namespace of the node
	UID   uint32    `json:"uid"` // effective
	Comm  string    `json:"comm"`
	Count int64     `json:"count"`
	At    time.Time `json:"at"` // the last one

	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Container string `json:"container,omitempty"`
	Unit      string `json:"unit,omitempty"`
	// Cgroup is its path from the root of the hierarchy; "" where it is not
	// known.
	Cgroup string `json:"-"`
}

// The system calls that are traced.
const (
	CallInit     = "inotify_init1" // and inotify_init(2)
	CallAddWatch = "inotify_add_watch"
)
