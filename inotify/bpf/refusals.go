package bpf

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/nodetune/nodetune/inotify"
)

// Refusals counts the calls of inotify_init1(2) and inotify_add_watch(2) that
// fail.
//
// Its programs are attached to the tracepoints of these system calls' exits
// (Linux 2.6.32, CONFIG_FTRACE_SYSCALLS). As soon as any such tracepoint is on,
// the kernel takes every system call of the node through a slower path: 36 ns
// each where BenchmarkRefusals was run. Programs at the functions themselves
// (fexit) would not; they need a kernel that lets its code be changed.
//
// It needs what [Open] needs and tracefs at /sys/kernel/tracing, readable:
// that is for uid 0 alone.
type Refusals struct {
	objs  refusalsObjects
	links []link.Link
	// Reused between reads.
	keys   [512]refusalsRefused
	values [512]refusalsRefusal
}

// OpenRefusals begins to count. It takes 0.6 MiB in the kernel until Close.
// procfs is where to find nodetune's user namespace.
func OpenRefusals(procfs string) (*Refusals, error) {
	types := NewTypes()
	defer types.Forget()
	table, err := Open(procfs, types)
	if err != nil {
		return nil, err
	}
	defer func() { _ = table.Close() }()
	spec, err := load(loadRefusals)
	if err != nil {
		return nil, err
	}
	if err := table.rootAccount(spec); err != nil {
		return nil, err
	}
	r := &Refusals{}
	if err := spec.LoadAndAssign(&r.objs, types.options()); err != nil {
		return nil, lacking(err)
	}
	for name, program := range map[string]*ebpf.Program{
		"sys_exit_inotify_init1":     r.objs.InitRefused,
		"sys_exit_inotify_init":      r.objs.InitRefused, // not on arm64
		"sys_exit_inotify_add_watch": r.objs.WatchRefused,
	} {
		l, err := link.Tracepoint("syscalls", name, program, nil)
		if errors.Is(err, os.ErrNotExist) && name == "sys_exit_inotify_init" {
			continue
		}
		if err != nil {
			_ = r.Close()
			return nil, fmt.Errorf("trace %s, which needs tracefs at /sys/kernel/tracing: %w", name, err)
		}
		r.links = append(r.links, l)
	}
	return r, nil
}

// rootAccount sets which entry is charged for what root makes, if that is who
// reads the table.
func (t *Table) rootAccount(spec *ebpf.CollectionSpec) error {
	if _, err := t.Accounts(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	var charged uint64
	if err := t.objs.Charged.Get(&charged); err != nil {
		return err
	}
	return spec.Variables[refusalsVarRootAccount].Set(charged)
}

// Close ends it: nothing is traced any more.
func (r *Refusals) Close() error {
	var errs []error
	for _, l := range r.links {
		errs = append(errs, l.Close())
	}
	return errors.Join(append(errs, r.objs.Close())...)
}

// resources are in the order of the program's.
var resources = [...]inotify.Resource{"", inotify.Instances, inotify.Watches, inotify.NOFILE, inotify.OpenFiles, inotify.Memory}

// Read returns what was refused since the last Read, at most one for each
// process and way to fail. What fails on another CPU in the moment in which it is
// read is missing: of a program at full speed less than one for each Read. Where
// more than 512 of these fail in between, those that failed longest ago are
// missing.
func (r *Refusals) Read() ([]inotify.Refusal, error) {
	var all []inotify.Refusal
	now, wall := monotonic(), time.Now()
	var cursor ebpf.MapBatchCursor
	for {
		n, err := r.objs.Refusals.BatchLookupAndDelete(&cursor, r.keys[:], r.values[:], nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return all, fmt.Errorf("read what inotify has refused: %w", err)
		}
		for i := range n {
			f := refusal(&r.keys[i], &r.values[i])
			f.At = wall.Add(-time.Duration(now - r.values[i].At))
			all = append(all, f)
		}
		if last || n == 0 {
			return all, nil
		}
	}
}

func refusal(k *refusalsRefused, v *refusalsRefusal) inotify.Refusal {
	f := inotify.Refusal{
		Call: inotify.CallInit, Errno: int(k.Error), Resource: resources[int(k.Resource)%len(resources)],
		Level: int(v.Level), Used: v.Used, Limit: inotify.Limit(v.Limit),
		PID: int(k.Tgid), UID: v.Uid, Comm: text(v.Comm[:]), Count: int64(v.Count), Cgroup: cgroupPath(v),
	}
	if k.Call != 0 {
		f.Call = inotify.CallAddWatch
	}
	switch f.Resource {
	case inotify.Instances, inotify.Watches:
		f.Owner = &inotify.Owner{UserNS: uint64(v.Userns), UID: v.Owner}
	case inotify.NOFILE:
	default:
		f.Limit = inotify.NoLimit
	}
	return f
}

// cgroupPath is "" where the path is longer than was read.
func cgroupPath(v *refusalsRefusal) string {
	var b strings.Builder
	for i := int(v.Names) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(text(v.Cgroup[i][:]))
	}
	return b.String()
}

// text is a string of the kernel's, which ends with a NUL.
func text[C int8 | uint8](c []C) string {
	b := make([]byte, 0, len(c))
	for _, x := range c {
		if x == 0 {
			break
		}
		b = append(b, byte(x))
	}
	return string(b)
}
