package procwalk

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The wrappers of x/sys/unix take paths as strings and copy them for every
// call. These take the name where getdents64(2) has put it, NUL included.

// openat opens the NUL-terminated name below dir.
func openat(dir int, name []byte, flags int) (int, error) {
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(flags|unix.O_CLOEXEC), 0, 0, 0)
		if errno == 0 {
			return int(fd), nil
		}
		if errno != unix.EINTR {
			return -1, errno
		}
	}
}

// readlinkat reads the NUL-terminated link name below dir. Links of /proc are
// made from memory and never wait for a device, so the scheduler is not notified.
func readlinkat(dir int, name, buf []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_READLINKAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// closefd closes fd. close(2) of a file in /proc has nothing to report.
func closefd(fd int) { _ = unix.Close(fd) }

// EINTR can come from a signal of the Go runtime (preemption) in a long read.
func read(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// appendAll appends the whole file below dir to buf. There is no size limit:
// the kernel bounds what it prints, and a limit here would be one more way to
// read half a file (cgroup paths alone may take several pages).
func appendAll(dir int, name, buf []byte) ([]byte, error) {
	fd, err := openat(dir, name, unix.O_RDONLY)
	if err != nil {
		return buf, err
	}
	defer closefd(fd)
	for {
		if cap(buf)-len(buf) < 512 {
			buf = append(make([]byte, 0, 2*cap(buf)+4096), buf...)
		}
		n, err := read(fd, buf[len(buf):cap(buf)])
		if err != nil {
			return buf, err
		}
		if n <= 0 {
			return buf, nil
		}
		buf = buf[:len(buf)+n]
	}
}

// fstatat is stat(2) of the NUL-terminated name below dir.
func fstatat(dir int, name []byte, st *unix.Stat_t) error {
	_, _, errno := unix.Syscall6(sysFstatat, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(st)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
