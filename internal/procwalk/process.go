package procwalk

import (
	"io"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
)

// Process is one descriptor table met on a walk: that of a process, or, with
// TID different from PID, that of a thread which does not share it (clone(2)
// without CLONE_FILES, unshare(2), or the main thread is gone). It is valid
// during the call of the visitor only.
//
// What its methods return is read when asked for and, but for descriptors, of
// the process. ESRCH and ENOENT say that it ended meanwhile.
type Process struct {
	PID int
	TID int

	w     *Walker
	dir   int // PID
	table int // PID, or PID/task/TID

	stat     Stat
	haveStat bool
}

// Stat is what identifies a process: a pid is reused, a pid with its start
// time is not.
type Stat struct {
	Start        uint64 // clock ticks after boot, proc_pid_stat(5)
	CPUTicks     uint64 // user and system time of all its threads
	KernelThread bool
	Terminal     bool // it has a controlling terminal
	comm         [64]byte
	commLen      int
}

// Comm is the name of the program as the program set it: up to 15 bytes of
// anything (64 for a kernel thread), newlines and terminal codes included.
func (s *Stat) Comm() []byte { return s.comm[:s.commLen] }

// Stat returns what PID/stat says.
func (p *Process) Stat() (*Stat, error) {
	if p.haveStat {
		return &p.stat, nil
	}
	b, err := p.file("stat\x00")
	if err != nil {
		return nil, err
	}
	if err := parseStat(b, &p.stat); err != nil {
		return nil, err
	}
	p.haveStat = true
	return &p.stat, nil
}

// UIDs returns the user ids in PID/status.
func (p *Process) UIDs() (UIDs, error) {
	b, err := p.file("status\x00")
	if err != nil {
		return UIDs{}, err
	}
	return parseUIDs(b)
}

// NOFILE returns the limits of RLIMIT_NOFILE: from prlimit(2), which is
// cheaper, where pids are ours, otherwise from PID/limits. Both need
// PTRACE_MODE_READ, or the owner's uid.
func (p *Process) NOFILE() (soft, hard uint64, err error) {
	if p.w.ours {
		if err := unix.Prlimit(p.PID, unix.RLIMIT_NOFILE, nil, &p.w.rlimit); err == nil {
			return p.w.rlimit.Cur, p.w.rlimit.Max, nil
		}
		// prlimit(2) wants CAP_SYS_RESOURCE for another user's process,
		// even to read; the file does not.
	}
	b, err := p.file("limits\x00")
	if err != nil {
		return 0, 0, err
	}
	return parseNOFILE(b)
}

// Cgroup returns the path that says most about where the process belongs:
// that of the v2 hierarchy, or of the memory controller where v1 is used. It
// is seen from the cgroup namespace of the caller and valid until the next
// call of a method.
func (p *Process) Cgroup() ([]byte, error) {
	b, err := p.file("cgroup\x00")
	if err != nil {
		return nil, err
	}
	return parseCgroup(b), nil
}

// Workload returns whom the process belongs to, as far as all of PID/cgroup
// says: a runtime may place a container in some hierarchies of v1 only.
func (p *Process) Workload() (workload.Workload, error) {
	b, err := p.file("cgroup\x00")
	if err != nil {
		return workload.Workload{}, err
	}
	return workload.ParseCgroup(b), nil
}

// UserNS returns the inode number of the user namespace, namespaces(7). It
// needs PTRACE_MODE_READ.
func (p *Process) UserNS() (uint64, error) {
	n, err := readlinkat(p.dir, []byte("ns/user\x00"), p.w.ns)
	if err != nil {
		return 0, err
	}
	return parseUserNS(p.w.ns[:n])
}

// OpenUserNS opens the user namespace for ioctl_nsfs(2). The caller closes it.
func (p *Process) OpenUserNS() (int, error) {
	return openat(p.dir, []byte("ns/user\x00"), unix.O_RDONLY)
}

// FDCount returns the number of descriptors from the size of PID/fd, which
// the kernel gives since 6.2; ok is false where it does not.
func (p *Process) FDCount() (n int, ok bool) {
	if !p.w.fdCount {
		return 0, false
	}
	var st unix.Stat_t
	if err := fstatat(p.table, []byte("fd\x00"), &st); err != nil {
		return 0, false
	}
	return int(st.Size), true
}

// StatFD returns the device, inode, mode, size and owner of the file behind a
// descriptor, as [Process.StatxFD] reads them: it does not hang on a dead mount.
func (p *Process) StatFD(fd int) (unix.Stat_t, error) {
	var x unix.Statx_t
	if err := p.StatxFD(fd, &x); err != nil {
		return unix.Stat_t{}, err
	}
	return unix.Stat_t{
		Dev: unix.Mkdev(x.Dev_major, x.Dev_minor), Ino: x.Ino, Mode: uint32(x.Mode), Size: int64(x.Size),
		Uid: x.Uid, Gid: x.Gid,
	}, nil
}

// StatxFD fills st for the file behind a descriptor with what the kernel has in
// memory (AT_STATX_DONT_SYNC, statx(2)): a dead NFS server is not asked, so it
// does not hang, and sizes of files on network file systems may be old.
func (p *Process) StatxFD(fd int, st *unix.Statx_t) error {
	name := p.fdName("fd/", fd)
	_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(p.table), uintptr(unsafe.Pointer(&name[0])),
		unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(st)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// FDInfo returns the offset and the flags of a descriptor. Do not use it for
// inotify instances: the kernel formats all of their watches for the first
// byte read, see [Process.Watches].
func (p *Process) FDInfo(fd int) (FDInfo, error) {
	f, err := openat(p.table, p.fdName("fdinfo/", fd), unix.O_RDONLY)
	if err != nil {
		return FDInfo{}, err
	}
	defer closefd(f)
	n, err := read(f, p.w.record[:512])
	if err != nil {
		return FDInfo{}, err
	}
	return parseFDInfo(p.w.record[:n])
}

// Watches counts the watches of the inotify instance behind a descriptor,
// through PID/fdinfo/FD, and shows each to each, if that is not nil.
//
// However little of it is read, the kernel formats the whole record first:
// some 2 µs a watch, in a buffer of the next power of two above 120 to 170
// bytes a watch that is charged to the memory cgroup of the reader, under a
// lock that inotify_add_watch(2) of the owner waits for. With 190,000 watches
// that is 400 ms, 32 MiB, and 170 ms at worst. The caller bounds it.
func (p *Process) Watches(fd int, each func(Watch)) (int, error) {
	f, err := openat(p.table, p.fdName("fdinfo/", fd), unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer closefd(f)
	r := &p.w.reader
	r.fd = f
	if each == nil {
		return countWatches(r, p.w.record)
	}
	return eachWatch(r, p.w.record, each)
}

// file reads a small file of the process into the walker's buffer.
func (p *Process) file(name string) ([]byte, error) {
	p.w.name = append(p.w.name[:0], name...)
	b, err := appendAll(p.dir, p.w.name, p.w.small[:0])
	p.w.small = b[:0]
	return b, err
}

// fdName returns prefix and fd as a NUL-terminated name.
func (p *Process) fdName(prefix string, fd int) []byte {
	p.w.name = append(p.w.name[:0], prefix...)
	p.w.name = append(strconv.AppendInt(p.w.name, int64(fd), 10), 0)
	return p.w.name
}

// fdReader is an io.Reader without the cost of os.File, whose descriptors are
// offered to the poller first.
type fdReader struct{ fd int }

func (r *fdReader) Read(b []byte) (int, error) {
	n, err := read(r.fd, b)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
