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
	policy  inotify.Policy
	names   *workload.Index
}

func (o *options) openHolders(p inotify.Policy) (*holders, error) {
	scanner, err := inotify.NewScanner(o.procfs, o.sysfs, p)
	if err != nil {
		return nil, err
	}
	h := &holders{scanner: scanner, policy: p, names: workload.NewIndex(o.rootfs)}
	if h.ledger, err = o.openLedger(p); err != nil {
		scanner.SetLedger(inotify.NoLedger{Why: err})
	} else {
		scanner.SetLedger(h.ledger)
	}
	return h, nil
}

// openLedger opens the kernel's counters.
func (o *options) openLedger(p inotify.Policy) (*bpf.Table, error) {
	if !p.KernelCounters {
		return nil, errors.New("inotify.kernelCounters is false")
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(o.procfs, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return nil, fmt.Errorf("%s is not of this kernel", o.procfs)
	}
	return bpf.Open(o.procfs)
}

func (h *holders) close() {
	_ = h.scanner.Close()
	if h.ledger != nil {
		_ = h.ledger.Close()
	}
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
	return u, nil
}

// inotifyPass makes one pass. A tree that holds no processes, as one made for
// --path.procfs, has no such section.
func (o *options) inotifyPass(ctx context.Context, p inotify.Policy) reporter.Result[inotify.Usage] {
	h, err := o.openHolders(p)
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
