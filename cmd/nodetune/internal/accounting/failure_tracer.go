package accounting

import (
	"errors"
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
	Source inotify.RefusalSource
	names  *workload.Index
	recent *inotify.RecentFailures
	// unnamed are of containers that have no name yet.
	unnamed []inotify.SyscallFailure
}

// OpenFailureTracer begins to trace. It prefers BPF programs that make no other system
// call slower. Where the policy asks for it, it also takes BPF programs at the exit of
// all system calls, which see what each call met, or else the kernel's own tracing. It
// adds to lately what has failed.
func OpenFailureTracer(roots host.Roots, p inotify.Policy, lately *inotify.RecentFailures) (*FailureTracer, error) {
	r := &FailureTracer{names: workload.NewIndex(roots.Rootfs), recent: lately}
	if p.Refusals == inotify.RefusalsOff {
		return nil, errors.New("inotify.refusals is false")
	}
	if err := host.RequireOwnKernel(roots.Procfs); err != nil {
		return nil, err
	}
	ways := bpf.FreeWays()
	if p.Refusals == inotify.RefusalsOn {
		ways = bpf.AllWays()
	}
	withoutBPF := bpfUnavailableReason(roots.Procfs, p)
	if withoutBPF == nil {
		counter, err := openFailureCounter(roots.Procfs, ways)
		if err == nil {
			way, reason := counter.Way()
			r.reader, r.Source.RefusalsSource = counter, "ebpf_"+string(way)
			if reason != nil && way == bpf.Tracepoint {
				r.Source.RefusalsReason = reason.Error()
			}
			return r, nil
		}
		withoutBPF = err
	}
	if p.Refusals != inotify.RefusalsOn {
		return nil, withoutBPF
	}
	t, err := tracefs.Open(filepath.Join(roots.Sysfs, "kernel/tracing"), roots.Procfs)
	if err != nil {
		return nil, fmt.Errorf("%w; without BPF, because %w", err, withoutBPF)
	}
	r.reader, r.Source = t, inotify.RefusalSource{RefusalsSource: "tracefs", RefusalsReason: withoutBPF.Error()}
	return r, nil
}

func openFailureCounter(procfs string, ways []bpf.Way) (*bpf.FailureCounter, error) {
	types := bpf.NewTypes()
	defer types.Close()
	return bpf.OpenFailureCounter(procfs, types, ways...)
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
