package inotify

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/nodetune/nodetune/internal/workload"
)

const (
	// failureWindow is how long a failure is reported after the last one of its
	// kind: a collector restarts with a back-off of five minutes at most.
	failureWindow = 10 * time.Minute
	// maxFailureKinds bounds how many are reported.
	maxFailureKinds = 32
)

// RecentFailures keeps the failures of the last ten minutes. It is safe for
// concurrent use.
type RecentFailures struct {
	mu  sync.Mutex
	all []SyscallFailure // the latest first
}

// kind is what is counted together: a program that is started again and again
// is one.
type kind struct {
	call            string
	errno           int
	resource        Resource
	comm, pod, unit string
}

func (f *SyscallFailure) kind() kind {
	return kind{f.Call, f.Errno, f.Resource, f.Comm, f.Namespace + "/" + f.Pod + ":" + f.Container, f.Unit}
}

// Add adds failures, and returns those of a kind that was not reported yet.
func (r *RecentFailures) Add(more []SyscallFailure, now time.Time) (added []SyscallFailure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = slices.DeleteFunc(r.all, func(f SyscallFailure) bool { return now.Sub(f.At) > failureWindow })
	for _, f := range more {
		i := slices.IndexFunc(r.all, func(g SyscallFailure) bool { return g.kind() == f.kind() })
		if i < 0 {
			added = append(added, f)
			r.all = append(r.all, f)
			continue
		}
		f.Count += r.all[i].Count
		r.all[i] = f
	}
	slices.SortStableFunc(r.all, func(a, b SyscallFailure) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.Count, a.Count))
	})
	r.all = r.all[:min(len(r.all), maxFailureKinds)]
	return added
}

// Recent returns the failures of the last ten minutes, the latest first.
func (r *RecentFailures) Recent(now time.Time) []SyscallFailure {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.all), func(f SyscallFailure) bool { return now.Sub(f.At) > failureWindow })
}

// Name fills in the workload of the process.
func (f *SyscallFailure) Name(x *workload.Index) {
	w := x.Named(workload.FromCgroupPath(f.Cgroup))
	f.Namespace, f.Pod, f.Container, f.Unit = w.Namespace, w.Pod, w.Container, w.Unit
}
