package inotify

import (
	"errors"
	"fmt"
	"time"

	"github.com/nodetune/nodetune/internal/field"
)

// Policy is the configuration's inotify block: when use counts as pressure,
// and what counting may cost.
type Policy struct {
	// PressurePercent of a limit is pressure, ClearPercent ends it.
	PressurePercent float64 `json:"pressurePercent"`
	ClearPercent    float64 `json:"clearPercent"`
	// RaisePercent is the share of a limit in use from which it is raised,
	// and the share that is in use after a floor was set from what was
	// measured.
	RaisePercent float64 `json:"raisePercent"`
	// Horizon is how far ahead growth is looked at: a limit that would be
	// reached sooner is raised now.
	Horizon field.Duration `json:"horizon"`
	// LeakInstances is the number of instances in one process from which it
	// is taken for a leak: nothing is raised for it.
	LeakInstances int64 `json:"leakInstances"`
	// WatchMemoryPercent of the memory is the most that all the watches of
	// one account may pin: the ceiling of what is raised.
	WatchMemoryPercent float64 `json:"watchMemoryPercent"`
	// MaxInstances is the ceiling for max_user_instances.
	MaxInstances int64 `json:"maxInstances"`
	// CountWatches reads the records of inotify instances. Without it only
	// instances and descriptors are counted.
	CountWatches bool `json:"countWatches"`
	// MaxReadWatches is the largest instance whose record is read. Reading
	// it holds up the inotify_add_watch(2) of its owner for about 2 ms per
	// 1,000 watches.
	MaxReadWatches int64 `json:"maxReadWatches"`
	// CountPercent is the share of a core that reading records may take.
	// The first pass may take up to two seconds at once.
	CountPercent float64 `json:"countPercent"`
	// KernelCounters reads the use of accounts and the holders from the kernel
	// itself, with BPF programs. It needs CAP_BPF and CAP_PERFMON.
	KernelCounters bool `json:"kernelCounters"`
	// EventsUnreadAfter is how long a log collector may leave its events unread
	// while more come.
	EventsUnreadAfter field.Duration `json:"eventsUnreadAfter"`
	// Refusals selects whether the inotify system calls that fail are traced.
	Refusals RefusalTracing `json:"refusals"`
	// ProbeUIDs are users whose exact headroom nodetune asks the kernel for, by
	// taking up to ProbeInstances instances in their name for some
	// microseconds. Where fewer are left, no other process of that user gets
	// one in that time.
	ProbeUIDs      []uint32 `json:"canaryUIDs"`
	ProbeInstances int      `json:"canaryInstances"`
	// RaiseNOFILE names the programs, by their comm, whose soft
	// RLIMIT_NOFILE the agent raises up to the hard one before it is met.
	RaiseNOFILE []string `json:"raiseNOFILE"`
}

// MaxProbe is the most instances a probe may ask for.
const MaxProbe = 8

// DefaultPolicy returns the defaults.
func DefaultPolicy() Policy {
	return Policy{
		PressurePercent: 80,
		ClearPercent:    70,
		RaisePercent:    70,
		Horizon:         field.Duration(time.Hour),
		LeakInstances:   4096,
		// A quarter of the memory, twice the share that the kernel's own
		// ceiling of 1,048,576 watches takes of 16 GiB.
		WatchMemoryPercent: 25,
		MaxInstances:       65536,
		CountWatches:       true,
		KernelCounters:     true,
		EventsUnreadAfter:  field.Duration(2 * time.Minute),
		MaxReadWatches:     50_000,
		CountPercent:       1,
		ProbeInstances:     MaxProbe,
	}
}

// Validate returns every field that is wrong.
func (p Policy) Validate() error {
	var errs []error
	percent := func(path string, v, low, high float64) {
		if !(v >= low && v <= high) {
			errs = append(errs, field.Errorf(path, "is %g, want %g to %g", v, low, high))
		}
	}
	percent("pressurePercent", p.PressurePercent, 1, 100)
	percent("clearPercent", p.ClearPercent, 1, p.PressurePercent)
	percent("raisePercent", p.RaisePercent, 1, 100)
	percent("watchMemoryPercent", p.WatchMemoryPercent, 0.1, 80)
	percent("countPercent", p.CountPercent, 0.01, 100)
	positive := func(path string, v int64) {
		if v < 1 {
			errs = append(errs, field.Errorf(path, "is %d, want 1 or more", v))
		}
	}
	positive("leakInstances", p.LeakInstances)
	positive("maxInstances", p.MaxInstances)
	positive("maxReadWatches", p.MaxReadWatches)
	// sysctl(5): fs.inotify.max_user_instances is an int.
	if p.MaxInstances > 1<<31-1 {
		errs = append(errs, field.Errorf("maxInstances", "is %d, the kernel takes 2147483647 at most", p.MaxInstances))
	}
	if p.Horizon.D() < time.Minute || p.Horizon.D() > 30*24*time.Hour {
		errs = append(errs, field.Errorf("horizon", "is %s, want 1m to 720h", p.Horizon))
	}
	if p.EventsUnreadAfter.D() < time.Second {
		errs = append(errs, field.Errorf("eventsUnreadAfter", "is %s, want 1s or more", p.EventsUnreadAfter))
	}
	if p.ProbeInstances < 1 || p.ProbeInstances > MaxProbe {
		errs = append(errs, field.Errorf("canaryInstances", "is %d, want 1 to %d", p.ProbeInstances, MaxProbe))
	}
	for i, comm := range p.RaiseNOFILE {
		// proc_pid_comm(5): TASK_COMM_LEN is 16 with its NUL.
		if comm == "" || len(comm) > MaxComm {
			errs = append(errs, field.Errorf(fmt.Sprintf("raiseNOFILE[%d]", i), "%q has %d bytes, the kernel keeps 1 to %d of a program's name: see /proc/PID/comm", comm, len(comm), MaxComm))
		}
	}
	return errors.Join(errs...)
}

// MaxComm is TASK_COMM_LEN without its NUL: comm is cut there, prctl(2).
const MaxComm = 15
