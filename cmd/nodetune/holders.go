package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
)

// holders counts who holds what, and knows their names.
type holders struct {
	scanner *inotify.Scanner
	ledger  *bpf.Table // or nil
	walk    *bpf.Walk  // or nil
	policy  inotify.Policy
	names   *workload.Index
	refused *refusals // or nil
}

func openHolders(roots Roots, p inotify.Policy) (*holders, error) {
	scanner, err := inotify.NewScanner(roots.Procfs, roots.Sysfs, p)
	if err != nil {
		return nil, err
	}
	h := &holders{scanner: scanner, policy: p, names: workload.NewIndex(roots.Rootfs)}
	h.askKernel(roots.Procfs)
	return h, nil
}

// askKernel makes the kernel the source, as far as it can be.
func (h *holders) askKernel(procfs string) {
	err := ownKernel(procfs, h.policy)
	if err != nil {
		h.scanner.SetLedger(inotify.NoLedger{Why: err})
		h.scanner.SetHolders(inotify.NoHolders{Why: err})
		return
	}
	types := bpf.NewTypes()
	defer types.Close()
	if h.ledger, err = bpf.Open(procfs, types); err != nil {
		h.scanner.SetLedger(inotify.NoLedger{Why: err})
	} else {
		h.scanner.SetLedger(h.ledger)
	}
	if h.walk, err = bpf.OpenWalk(procfs, types); err != nil {
		h.scanner.SetHolders(inotify.NoHolders{Why: err})
	} else {
		h.scanner.SetHolders(h.walk)
	}
}

// ownKernel says why the kernel is not to be asked by itself.
func ownKernel(procfs string, p inotify.Policy) error {
	if !p.KernelCounters {
		return errors.New("inotify.kernelCounters is false")
	}
	return isProcfs(procfs)
}

// isProcfs says whether pids and settings are those of this kernel.
func isProcfs(procfs string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(procfs, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("%s is not of this kernel", procfs)
	}
	return nil
}

func (h *holders) close() {
	_ = h.scanner.Close()
	if h.ledger != nil {
		_ = h.ledger.Close()
	}
	if h.walk != nil {
		_ = h.walk.Close()
	}
	if h.refused != nil {
		h.refused.close()
	}
}

// refreshNames reads again which pods and containers there are.
func (h *holders) refreshNames() error { return h.names.Refresh() }

// find returns the processes whose program, pod or unit is called name.
func (h *holders) find(ctx context.Context, name string) ([]inotify.Named, error) {
	return h.scanner.Find(ctx, name, h.names)
}

// probe makes the next pass take instances in the name of the user of a process,
// where the kernel's counters cannot be read.
func (h *holders) probe(pid int) error {
	uid, err := h.scanner.UID(pid)
	if err != nil {
		return err
	}
	h.scanner.Ask(uid)
	return nil
}

// inspect returns what one process holds of each limit, beside what a pass
// counted.
func (h *holders) inspect(pid int, u inotify.Usage) (inotify.Suspect, error) {
	s, err := h.scanner.Suspect(pid, u)
	if err == nil {
		s.Name(h.names)
	}
	return s, err
}

// raiseNOFILE raises the descriptor limit of one process, and returns the limit
// that it has then.
func (h *holders) raiseNOFILE(r inotify.NOFILERaise) (inotify.Limit, error) {
	return h.scanner.RaiseNOFILE(r)
}

// traceFailures makes every pass from now on say which calls of inotify failed.
func (h *holders) traceFailures(roots Roots) error {
	r, err := openRefusals(roots, h.policy, &inotify.Refused{})
	if err != nil {
		return err
	}
	h.refused = r
	return nil
}

// pass walks once.
func (h *holders) pass(ctx context.Context) (inotify.Usage, error) {
	named := h.names.Refresh()
	u, err := h.scanner.Usage(ctx)
	if err != nil {
		return u, err
	}
	if named != nil {
		u.Unknown = append(u.Unknown, inotify.Gap{What: "names of pods that started since", Why: named.Error()})
	}
	u.Name(h.names)
	u.Findings = inotify.Pressure(u, h.policy)
	if h.refused != nil {
		if _, _, err := h.refused.read(time.Now()); err != nil {
			u.Unknown = append(u.Unknown, inotify.Gap{What: "refusals", Why: err.Error()})
		}
		u.Refusals = h.refused.lately.Lately(time.Now())
	}
	return u, nil
}

// inotifyPass makes one pass. A tree that holds no processes, as one made for
// --path.procfs, has no such section.
func inotifyPass(ctx context.Context, roots Roots, p inotify.Policy) reporter.Result[inotify.Usage] {
	h, err := openHolders(roots, p)
	if errors.Is(err, fs.ErrNotExist) {
		return reporter.Result[inotify.Usage]{}
	}
	if err != nil {
		return reporter.Result[inotify.Usage]{At: time.Now(), Err: err}
	}
	defer h.close()
	u, err := h.pass(ctx)
	return reporter.Result[inotify.Usage]{Value: u, At: time.Now(), Err: err}
}
