package bpf

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/nodetune/nodetune/inotify"
)

// FailureCounter counts the calls of inotify_init1(2) and inotify_add_watch(2)
// that fail. It sees them in one of several ways: see [Way].
type FailureCounter struct {
	coll    *ebpf.Collection
	links   []link.Link
	way     Way
	reason  error // why it is not the first way
	pending []inotify.SyscallFailure
	// Reused between reads.
	keys   [512]failuresFailureKey
	values [512]failuresFailure
}

// OpenFailureCounter starts to count, in the first of these ways that works. The
// error gives the reason for each. It uses 0.6 MiB of kernel memory until Close.
// procfs is a mount of proc(5), which has nodetune's user namespace.
//
// It has the requirements of [Open], and those of the way.
func OpenFailureCounter(procfs string, types *Types, ways ...Way) (*FailureCounter, error) {
	table, err := Open(procfs, types)
	if err != nil {
		return nil, err
	}
	defer func() { _ = table.Close() }()
	spec, err := load(loadFailures)
	if err != nil {
		return nil, err
	}
	var address uint64
	if err := table.objs.Table.Get(&address); err != nil {
		return nil, err
	}
	if err := spec.Variables[failuresVarTable].Set(address); err != nil {
		return nil, err
	}
	var failed []error
	for _, w := range ways {
		c, err := openWay(w, spec, types)
		if err == nil {
			c.reason = inOneLine(failed)
			return c, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", w, err))
	}
	return nil, inOneLine(failed)
}

// Way returns how the counter sees the calls, and why not in one of the ways
// before, if there is one.
func (c *FailureCounter) Way() (Way, error) { return c.way, c.reason }

// Close detaches the programs and frees their memory.
func (c *FailureCounter) Close() error {
	var errs []error
	for _, l := range c.links {
		errs = append(errs, l.Close())
	}
	c.coll.Close()
	return errors.Join(errs...)
}

// resources has the order of enum resource in failures.bpf.c.
var resources = [...]inotify.Resource{"", inotify.Instances, inotify.Watches, inotify.NOFILE, inotify.OpenFiles, inotify.Memory}

// Read returns the failures since the last Read, at most one record for each process
// and reason. A failure on another CPU at the moment of Read can be missing: less
// than one for each Read of a process that fails at full speed. If there are more
// than 512 records, those that failed longest ago are missing.
func (c *FailureCounter) Read() ([]inotify.SyscallFailure, error) {
	all := c.pending
	c.pending = nil
	now, wall := monotonic(), time.Now()
	var cursor ebpf.MapBatchCursor
	for {
		n, err := c.coll.Maps[failuresMapFailures].BatchLookupAndDelete(&cursor, c.keys[:], c.values[:], nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return all, fmt.Errorf("read the failed inotify calls: %w", err)
		}
		for i := range n {
			f := convertFailure(&c.keys[i], &c.values[i])
			f.At = wall.Add(-time.Duration(now - c.values[i].At))
			all = append(all, f)
		}
		if last || n == 0 {
			return all, nil
		}
	}
}

func convertFailure(k *failuresFailureKey, v *failuresFailure) inotify.SyscallFailure {
	f := inotify.SyscallFailure{
		Call: inotify.CallInit, Errno: int(k.Error), Resource: resources[int(k.Resource)%len(resources)],
		Level: int(v.Level), Used: v.Used, Limit: inotify.Limit(v.Limit),
		PID: int(k.Tgid), UID: v.Uid, Comm: text(v.Comm[:]), Count: int64(v.Count), Cgroup: failureCgroup(v),
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

// failureCgroup returns the path of the cgroup, or "" if it is longer than was read.
func failureCgroup(v *failuresFailure) string {
	var b strings.Builder
	for i := int(v.Names) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(text(v.Cgroup[i][:]))
	}
	return b.String()
}

// text converts a string of the kernel, which ends with a NUL.
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
