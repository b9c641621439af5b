// Package accounting picks the best available source of inotify usage: BPF
// programs, tracefs or procfs.
//
// BPF needs CAP_BPF and CAP_PERFMON and a kernel whose data structures pass a
// self-test. Without them a pass over /proc gives the same figures at a higher
// cost, and the usage lists the reason. A pass writes nothing.
package accounting

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/inotify/procscan"
	"github.com/nodetune/nodetune/internal/openfiles"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
)

// Source counts who holds what, and knows their names.
type Source struct {
	scanner  *procscan.Scanner
	Accounts *bpf.Table // or nil
	walk     *bpf.Walk  // or nil
	Policy   inotify.Policy
	names    *workload.Index
	failures *FailureTracer // or nil
	refusals inotify.RefusalSource
	noWalk   error   // why there is no walk
	bpfErrs  []error // why BPF is not the source, or not the only one
}

// Open opens the best available source of inotify usage on the host at roots. Close
// releases it.
func Open(roots host.Roots, p inotify.Policy) (*Source, error) {
	scanner, err := procscan.New(roots.Procfs, roots.Sysfs, p)
	if err != nil {
		return nil, err
	}
	h := &Source{scanner: scanner, Policy: p, names: workload.NewIndex(roots.Rootfs)}
	h.openKernelSources(roots.Procfs)
	return h, nil
}

// WalkWithin bounds how long one pass walks procfs. The next one resumes the walk.
func (h *Source) WalkWithin(d time.Duration) { h.scanner.WalkWithin(d) }

// openKernelSources makes the kernel the source, as far as it can be.
func (h *Source) openKernelSources(procfs string) {
	err := bpfUnavailableReason(procfs, h.Policy)
	if err != nil {
		h.scanner.SetAccountSource(inotify.Unavailable{Why: err})
		h.scanner.SetHolderSource(inotify.NoHolderSource{Why: err})
		h.noWalk = err
		return
	}
	types := bpf.NewTypes()
	defer types.Close()
	if h.Accounts, err = bpf.Open(procfs, types); err != nil {
		h.bpfErrs = append(h.bpfErrs, err)
		h.scanner.SetAccountSource(inotify.Unavailable{Why: err})
	} else {
		h.scanner.SetAccountSource(h.Accounts)
	}
	if h.walk, err = bpf.OpenWalk(procfs, types); err != nil {
		h.bpfErrs = append(h.bpfErrs, err)
		h.scanner.SetHolderSource(inotify.NoHolderSource{Why: err})
		h.noWalk = err
	} else {
		h.scanner.SetHolderSource(h.walk)
	}
}

const (
	// temporaryRetry is when BPF that failed for a reason that passes is tried
	// again. Opening takes some 100 ms of CPU.
	temporaryRetry = 3 * time.Minute
	// otherRetry is when BPF that failed otherwise is tried again: a lockdown mode
	// or a permission may change while the agent runs.
	otherRetry = time.Hour
)

// RetryAfter returns when to open the source again because BPF failed, or 0.
func (h *Source) RetryAfter() time.Duration { return retryAfter(h.bpfErrs) }

func retryAfter(failed []error) time.Duration {
	d := time.Duration(0)
	for _, err := range failed {
		if errors.Is(err, bpf.ErrTemporary) {
			return temporaryRetry
		}
		d = otherRetry
	}
	return d
}

// bpfUnavailableReason returns why BPF cannot be a source, and nil where it can be tried.
func bpfUnavailableReason(procfs string, p inotify.Policy) error {
	if !p.KernelCounters {
		return errors.New("inotify.kernelCounters is false")
	}
	return host.RequireOwnKernel(procfs)
}

// Close releases the files and BPF programs of the source.
func (h *Source) Close() {
	_ = h.scanner.Close()
	if h.Accounts != nil {
		_ = h.Accounts.Close()
	}
	if h.walk != nil {
		_ = h.walk.Close()
	}
	if h.failures != nil {
		h.failures.Close()
	}
}

// OpenFiles returns who has which file open, from the kernel's descriptor tables. It may
// be called while the source is closed.
func (h *Source) OpenFiles(filter openfiles.Filter) (openfiles.Scan, error) {
	if h.walk == nil {
		return openfiles.Scan{}, h.noWalk
	}
	return h.walk.OpenFiles(filter)
}

// RefreshNames reads again which pods and containers there are.
func (h *Source) RefreshNames() error { return h.names.Refresh() }

// Find returns the processes whose program, pod or unit is called name.
func (h *Source) Find(ctx context.Context, name string) ([]procscan.ProcessName, error) {
	return h.scanner.Find(ctx, name, h.names)
}

// Probe makes the next pass take instances in the name of the user of a process,
// where the kernel's counters cannot be read.
func (h *Source) Probe(pid int) error {
	uid, err := h.scanner.UID(pid)
	if err != nil {
		return err
	}
	h.scanner.AddProbe(uid)
	return nil
}

// Inspect returns what one process holds of each limit, beside what a pass
// counted.
func (h *Source) Inspect(pid int, u inotify.Usage) (inotify.ProcessDetail, error) {
	s, err := h.scanner.Inspect(pid, u)
	if err == nil {
		s.Name(h.names)
	}
	return s, err
}

// RaiseNOFILE raises the descriptor limit of one process, and returns the limit
// that it has then.
func (h *Source) RaiseNOFILE(r inotify.NOFILERaise) (inotify.Limit, error) {
	return h.scanner.RaiseNOFILE(r)
}

// TraceFailures makes every later pass report the inotify calls that failed.
func (h *Source) TraceFailures(roots host.Roots) error {
	r, err := OpenFailureTracer(roots, h.Policy, &inotify.RecentFailures{})
	if err != nil {
		h.refusals = inotify.RefusalSource{RefusalsSource: inotify.RefusalSourceOff, RefusalsReason: err.Error()}
		return err
	}
	h.failures, h.refusals = r, r.Source
	return nil
}

// Usage walks once.
func (h *Source) Usage(ctx context.Context) (inotify.Usage, error) {
	named := h.names.Refresh()
	u, err := h.scanner.Usage(ctx)
	if err != nil {
		return u, err
	}
	if named != nil {
		u.Unknown = append(u.Unknown, inotify.Gap{What: "names of pods that started since", Why: named.Error()})
	}
	u.Name(h.names)
	u.Findings, u.Unseen = inotify.Pressure(u, h.Policy), inotify.Unseen(u, h.Policy)
	u.RefusalSource = h.refusals
	if h.failures != nil {
		if _, _, err := h.failures.Read(time.Now()); err != nil {
			u.Unknown = append(u.Unknown, inotify.Gap{What: "refusals", Why: err.Error()})
		}
		u.Refusals = h.failures.recent.Recent(time.Now())
	}
	return u, nil
}

// Once makes one pass. A tree that holds no processes, as one made for
// --path.procfs, has no such section.
func Once(ctx context.Context, roots host.Roots, p inotify.Policy) reporter.Result[inotify.Usage] {
	h, err := Open(roots, p)
	if errors.Is(err, fs.ErrNotExist) {
		return reporter.Result[inotify.Usage]{}
	}
	if err != nil {
		return reporter.Result[inotify.Usage]{At: time.Now(), Err: err}
	}
	defer h.Close()
	u, err := h.Usage(ctx)
	return reporter.Result[inotify.Usage]{Value: u, At: time.Now(), Err: err}
}
