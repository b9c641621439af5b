package tracefs

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
)

// inspect adds what /proc shows of the process a moment after the failure.
func (t *FailureTracer) inspect(f *inotify.SyscallFailure) {
	switch unix.Errno(f.Errno) {
	case unix.ENOSPC:
		f.Resource = inotify.Watches
	case unix.ENFILE:
		f.Resource = inotify.OpenFiles
	case unix.ENOMEM:
		f.Resource = inotify.Memory
	case unix.EMFILE:
		f.Resource = inotify.InstancesOrNOFILE
	}
	if tgid, err := t.leader(f.PID); err == nil {
		f.PID = tgid // the call may be of a thread
	}
	p, err := t.walker.Open(f.PID)
	if err != nil {
		return
	}
	defer p.Close()
	if stat, err := p.Stat(); err == nil {
		f.Comm = string(stat.Comm())
	}
	if ids, err := p.UIDs(); err == nil {
		f.UID = ids.Effective
	}
	if cgroup, err := p.Cgroup(); err == nil {
		f.Cgroup = string(cgroup)
	}
	if f.Resource != inotify.InstancesOrNOFILE {
		return
	}
	soft, _, err := p.NOFILE()
	if err != nil {
		return
	}
	lowest, err := t.lowestFree(f.PID)
	switch {
	case err != nil:
	case uint64(lowest) >= soft:
		f.Resource, f.Used, f.Limit = inotify.NOFILE, lowest, inotify.Limit(soft)
	default:
		f.Resource = inotify.Instances
	}
}

// leader returns the process of a thread: Tgid in proc_pid_status(5).
func (t *FailureTracer) leader(tid int) (int, error) {
	b, err := os.ReadFile(filepath.Join(t.procfs, strconv.Itoa(tid), "status"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(b, []byte("\nTgid:"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	return strconv.Atoi(string(bytes.TrimSpace(line)))
}

// lowestFree returns the lowest free descriptor, which the kernel uses next.
func (t *FailureTracer) lowestFree(pid int) (int64, error) {
	dir, err := os.Open(filepath.Join(t.procfs, strconv.Itoa(pid), "fd"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	fds := make([]int, 0, len(names))
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil {
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	for i, fd := range fds {
		if fd != i {
			return int64(i), nil
		}
	}
	return int64(len(fds)), nil
}
