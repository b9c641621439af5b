package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

// buckets is the size of the table, UCOUNTS_HASHTABLE_BITS in kernel/ucount.c.
const buckets = 1024

// Table reads the kernel's table of accounts. It is safe for concurrent use.
type Table struct {
	mu   sync.Mutex
	objs tableObjects
	// The generation of the thresholds of its notifiers.
	setting    sync.Mutex
	generation uint64
	// Reused between runs.
	found [512]ucountsAccount
	sums  map[inotify.Owner]int
}

// tableObjects are the objects of ucounts.bpf.c that reading the table needs.
type tableObjects struct {
	ReadAccounts *ebpf.Program `ebpf:"read_accounts"`
	Memory       *ebpf.Map     `ebpf:".bss"`
	ucountsVariables
}

// Open loads the program and tests it. The table must have nodetune's account, every
// entry must be in the bucket that its uid and namespace hash to, and the account
// must follow instances and a watch that Open creates and closes. The error states
// which test failed, or what the kernel or nodetune lacks.
//
// After an [ErrTemporary] the caller may try again some minutes later.
//
// It takes about 15 ms, and 15 ms to decode the types. procfs is a mount of proc(5),
// which has nodetune's user namespace.
func Open(procfs string, types *Types) (*Table, error) {
	self, err := ownAccount(procfs)
	if err != nil {
		return nil, err
	}
	spec, err := load(loadUcounts)
	if err != nil {
		return nil, err
	}
	return open(spec, self, types)
}

func open(spec *ebpf.CollectionSpec, self inotify.Owner, types *Types) (*Table, error) {
	t := &Table{sums: map[inotify.Owner]int{}}
	if err := spec.LoadAndAssign(&t.objs, types.options()); err != nil {
		return nil, missingRequirement(err)
	}
	if err := t.selfTest(self); err != nil {
		_ = t.Close()
		return nil, fmt.Errorf("BPF self-test failed: unexpected ucounts layout: %w", err)
	}
	return t, nil
}

// Close unloads the program and frees its memory.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.objs.ReadAccounts.Close(), t.objs.Memory.Close())
}

// ownAccount returns the account that the kernel charges for this process.
func ownAccount(procfs string) (inotify.Owner, error) {
	var st unix.Stat_t
	path := filepath.Join(procfs, "self/ns/user")
	if err := unix.Stat(path, &st); err != nil {
		return inotify.Owner{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return inotify.Owner{UserNS: st.Ino, UID: uint32(os.Geteuid())}, nil
}

// missingRequirement explains a load error by what the kernel or nodetune lacks.
func missingRequirement(err error) error {
	_, noBTF := os.Stat("/sys/kernel/btf/vmlinux")
	switch {
	case errors.Is(noBTF, os.ErrNotExist):
		return fmt.Errorf("this kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF): %w", err)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("this kernel has no bpf(2), or a seccomp profile forbids it: %w", err)
	case !capable(unix.CAP_BPF, unix.CAP_PERFMON):
		return fmt.Errorf("it needs CAP_BPF and CAP_PERFMON: %w", unix.EPERM)
	case errors.Is(features.HaveProgramType(ebpf.Syscall), ebpf.ErrNotSupported):
		return errors.New("this kernel has no BPF_PROG_TYPE_SYSCALL, which Linux 5.14 added")
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the kernel refused bpf(2): run in the initial user namespace, and allow it in the seccomp profile, the lockdown mode and the security module: %w", unix.EPERM)
	}
	return fmt.Errorf("load the BPF program: %w", err)
}

// capable reports whether this process has all of these capabilities, or
// CAP_SYS_ADMIN, which includes them.
func capable(want ...uint) bool {
	var sets [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return true // unknown: let the kernel decide
	}
	has := func(c uint) bool { return sets[c/32].Effective>>(c%32)&1 == 1 }
	for _, c := range want {
		if !has(c) && !has(unix.CAP_SYS_ADMIN) {
			return false
		}
	}
	return true
}

// Accounts returns every account that has an instance or a watch, with its limits.
// It takes about 15 µs. It adds up the entries of one account: the kernel has two
// entries for uid 0.
func (t *Table) Accounts() ([]inotify.AccountUsage, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []inotify.AccountUsage
	clear(t.sums)
	for from := uint32(0); from < buckets; {
		run, err := t.run(from)
		if err != nil {
			return nil, err
		}
		if run.Next <= from {
			return nil, fmt.Errorf("read the kernel's accounts: bucket %d has more than %d accounts", from, len(t.found))
		}
		from = run.Next
		for _, a := range t.found[:run.Count] {
			owner := inotify.Owner{UserNS: uint64(a.Userns), UID: a.Uid}
			at, seen := t.sums[owner]
			if !seen {
				at = len(all)
				t.sums[owner] = at
				all = append(all, inotify.AccountUsage{
					Owner: owner, Level: int(a.Level),
					InstancesLimit: inotify.Limit(a.InstancesLimit), WatchesLimit: inotify.Limit(a.WatchesLimit),
				})
			}
			all[at].Instances += a.Instances
			all[at].Watches += a.Watches
		}
	}
	return all, nil
}

// run reads buckets, beginning with from, until all are read or found is full.
func (t *Table) run(from uint32) (ucountsRun, error) {
	var run ucountsRun
	if err := t.objs.From.Set(from); err != nil {
		return run, err
	}
	code, err := t.objs.ReadAccounts.Run(&ebpf.RunOptions{})
	if err != nil {
		return run, fmt.Errorf("read the kernel's accounts: %w", err)
	}
	if code != 0 {
		return run, errors.New("read the kernel's accounts: the table was not found from nodetune's own account")
	}
	if err := t.objs.Run.Get(&run); err != nil {
		return run, err
	}
	if run.Count == 0 {
		return run, nil
	}
	return run, t.objs.Accounts.Get(&t.found)
}
