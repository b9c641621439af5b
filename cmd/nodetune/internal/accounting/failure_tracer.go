package accounting

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/inotify/tracefs"
	"github.com/nodetune/nodetune/internal/workload"
)

// FailureTracer reads which calls of inotify have failed, and names whose they were.
type FailureTracer struct {
	reader interface {
		Read() ([]inotify.SyscallFailure, error)
		Close() error
	}
	Source string
	names  *workload.Index
	recent *inotify.RecentFailures
	// unnamed are of containers that have no name yet.
	unnamed []inotify.SyscallFailure
}

// OpenFailureTracer begins to trace: by BPF, which knows of each call what it met, or
// else by the kernel's own tracing. It adds to lately what has failed.
func OpenFailureTracer(roots host.Roots, p inotify.Policy, lately *inotify.RecentFailures) (*FailureTracer, error) {
	r := &FailureTracer{Source: "ebpf", names: workload.NewIndex(roots.Rootfs), recent: lately}
	if err := requireOwnKernel(roots.Procfs); err != nil {
		return nil, err
	}
	withoutBPF := bpfUnavailableReason(roots.Procfs, p)
	if withoutBPF == nil {
		b, err := bpf.OpenFailureCounter(roots.Procfs)
		if err == nil {
			r.reader = b
			return r, nil
		}
		withoutBPF = err
	}
	t, err := tracefs.Open(filepath.Join(roots.Sysfs, "kernel/tracing"), roots.Procfs)
	if err != nil {
		return nil, fmt.Errorf("%w; without BPF, because %w", err, withoutBPF)
	}
	r.reader, r.Source = t, fmt.Sprintf("tracefs, because %v", withoutBPF)
	return r, nil
}

// Read returns what was refused since the last time, and what of it is new. A
// collector that fails at once may do so before the kubelet has made the link in
// /var/log/containers that names its container: such a failure is reported by the
// next Read.
func (r *FailureTracer) Read(now time.Time) (all, fresh []inotify.SyscallFailure, err error) {
	late := len(r.unnamed)
	more, err := r.reader.Read()
	more = append(r.unnamed, more...)
	r.unnamed = nil
	if len(more) > 0 {
		_ = r.names.Refresh() // without it there is no name
	}
	for i, f := range more {
		f.Name(r.names)
		if w := workload.FromCgroupPath(f.Cgroup); i >= late && f.Container == "" && w.PodUID != "" && w.ContainerID != "" {
			r.unnamed = append(r.unnamed, f)
			continue
		}
		all = append(all, f)
	}
	return all, r.recent.Add(all, now), err
}

// Close stops tracing.
func (r *FailureTracer) Close() { _ = r.reader.Close() }
