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

// buckets of the table, UCOUNTS_HASHTABLE_BITS in kernel/ucount.c.
const buckets = 1024

// Table is the kernel's table of accounts. It is safe for concurrent use.
type Table struct {
	mu   sync.Mutex
	objs tableObjects
	// Reused between runs.
	found [512]ucountsAccount
	sums  map[inotify.Owner]int
}

// tableObjects are those of ucounts.c that reading the table takes.
type tableObjects struct {
	Ucounts *ebpf.Program `ebpf:"ucounts"`
	Memory  *ebpf.Map     `ebpf:".bss"`
	ucountsVariables
}

// Open loads the program and tries it: the account of nodetune is in the table,
// every entry is in the bucket that its uid and namespace hash to, and four
// instances and a watch that are made and given back move the account by that.
// The error says which of them failed, or what the kernel or nodetune lack.
//
// It takes some 15 ms, and as much for the types if they are not decoded yet.
// procfs is where to find nodetune's user namespace.
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
		return nil, lacking(err)
	}
	if err := t.try(self); err != nil {
		_ = t.Close()
		return nil, fmt.Errorf("the kernel's counters are not what they were taken for: %w", err)
	}
	return t, nil
}

// Close gives the program and its memory back.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.objs.Ucounts.Close(), t.objs.Memory.Close())
}

// ownAccount is whom the kernel charges for what this process makes.
func ownAccount(procfs string) (inotify.Owner, error) {
	var st unix.Stat_t
	path := filepath.Join(procfs, "self/ns/user")
	if err := unix.Stat(path, &st); err != nil {
		return inotify.Owner{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return inotify.Owner{UserNS: st.Ino, UID: uint32(os.Geteuid())}, nil
}

// lacking says what it needs that is not there.
func lacking(err error) error {
	_, noBTF := os.Stat("/sys/kernel/btf/vmlinux")
	switch {
	case errors.Is(noBTF, os.ErrNotExist):
		return fmt.Errorf("this kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF): %w", err)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("this kernel has no bpf(2), or a seccomp profile hides it: %w", err)
	case !capable(unix.CAP_BPF, unix.CAP_PERFMON):
		return fmt.Errorf("it needs CAP_BPF and CAP_PERFMON: %w", unix.EPERM)
	case errors.Is(features.HaveProgramType(ebpf.Syscall), ebpf.ErrNotSupported):
		return errors.New("this kernel has no BPF_PROG_TYPE_SYSCALL, which is in Linux 5.14")
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("bpf(2) was refused: it needs the initial user namespace, and no seccomp profile, lockdown or security module against it: %w", unix.EPERM)
	}
	return fmt.Errorf("load the program: %w", err)
}

// capable reports whether this process has all of these capabilities, or
// CAP_SYS_ADMIN, which includes them.
func capable(want ...uint) bool {
	var sets [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return true // it is not known to lack one
	}
	has := func(c uint) bool { return sets[c/32].Effective>>(c%32)&1 == 1 }
	for _, c := range want {
		if !has(c) && !has(unix.CAP_SYS_ADMIN) {
			return false
		}
	}
	return true
}

// Accounts returns every account that has an instance or a watch, with its
// limits: some 15 µs for a node. Two objects of one account are one here; the
// kernel has two of uid 0.
func (t *Table) Accounts() ([]inotify.Charged, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []inotify.Charged
	clear(t.sums)
	for from := uint32(0); from < buckets; {
		run, err := t.run(from)
		if err != nil {
			return nil, err
		}
		if run.Next <= from {
			return nil, fmt.Errorf("read the kernel's accounts: bucket %d has more than %d of them", from, len(t.found))
		}
		from = run.Next
		for _, a := range t.found[:run.Count] {
			owner := inotify.Owner{UserNS: uint64(a.Userns), UID: a.Uid}
			at, seen := t.sums[owner]
			if !seen {
				at = len(all)
				t.sums[owner] = at
				all = append(all, inotify.Charged{
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

// run reads the buckets from one on, until there is no room left for more.
func (t *Table) run(from uint32) (ucountsRun, error) {
	var run ucountsRun
	if err := t.objs.From.Set(from); err != nil {
		return run, err
	}
	code, err := t.objs.Ucounts.Run(&ebpf.RunOptions{})
	if err != nil {
		return run, fmt.Errorf("read the kernel's accounts: %w", err)
	}
	if code != 0 {
		return run, errors.New("read the kernel's accounts: nodetune's own leads to no table")
	}
	if err := t.objs.Run.Get(&run); err != nil {
		return run, err
	}
	if run.Count == 0 {
		return run, nil
	}
	return run, t.objs.Accounts.Get(&t.found)
}
