// Package instances distinguishes inotify instances and reads their watches
// without doing harm: descriptors that share one count once, and a record is
// read only when it is known not to be too large for the owner, who is held up
// meanwhile, and for this process, whose memory cgroup is charged.
//
// It reads, through a [procwalk.Walker], PID/fdinfo, and compares descriptors
// with kcmp(2), which needs CAP_SYS_PTRACE and CONFIG_KCMP; below sysfs the
// size of the kernel's slab of inotify marks (needs uid 0, CONFIG_SLUB_DEBUG)
// and memory cgroups, v1 and v2.
//
// Do not use it where the number of instances is enough.
package instances

import (
	"time"

	"github.com/nodetune/nodetune/internal/procwalk"
)

// Descriptor is one descriptor of an inotify instance, as a walk found it.
type Descriptor struct {
	Process int // the caller's own index
	TID     int // whose table it is in
	Start   uint64
	FD      int
	Effort  uint64 // ticks of CPU time that the process has used
	Cgroup  string
}

// key says which descriptor it is between passes. Where it is closed and used
// again for another instance, what is remembered is wrong until that is read:
// its age says so.
type key struct {
	tid   int
	start uint64
	fd    int
}

func (d *Descriptor) key() key { return key{d.TID, d.Start, d.FD} }

// Instance is all the descriptors that were inherited, dup'ed or passed from
// one inotify_init1(2).
type Instance struct {
	Holders []int // indexes of descriptors, ascending
	Watches int64 // as last counted
	Known   bool  // it was counted at all
	Read    bool  // it was counted in this pass
	Age     time.Duration
}

// Reader counts watches, and remembers them between passes.
type Reader struct {
	walker *procwalk.Walker
	marks  marks
	memory memory
	by     map[key]*count
	credit time.Duration
	last   time.Time
}

type count struct {
	watches int64
	at      time.Time
	effort  uint64    // of the holders then
	pass    time.Time // that last met it
}

// maxCredit is how much reading one pass does at most, which the first pass of
// a process has to its credit: 200,000 watches take 0.4 s.
const maxCredit = 2 * time.Second

// NewReader returns a Reader that opens processes with w.
func NewReader(w *procwalk.Walker, procfs, sysfs string) *Reader {
	return &Reader{
		walker: w, marks: openMarks(sysfs), memory: memory{procfs, sysfs},
		by: map[key]*count{}, credit: maxCredit,
	}
}

// Distinct groups descriptors by instance. Where exact is false the kernel
// refused to compare them, and each counts as an instance of its own.
func (r *Reader) Distinct(descriptors []Descriptor) (all []Instance, exact bool, refused error) {
	if !r.walker.InHostPIDNamespace() {
		return distinct(descriptors, func(_, _ *Descriptor) (procwalk.Order, error) { return 0, ErrOthersPIDs })
	}
	return distinct(descriptors, kcmp)
}

// Forget makes the next pass read every record again, as far as that is
// allowed.
func (r *Reader) Forget() {
	r.credit = maxCredit
	for _, k := range r.by {
		k.at = time.Time{}
	}
}
