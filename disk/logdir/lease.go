package logdir

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Usage says who else has a file open.
type Usage int

// The answers of a lease, from bad to good for a removal of the file.
const (
	UsedByWriter Usage = iota // a process may write to it
	UsedByReader              // a process reads it, none writes
	Unused                    // no other process has it open
)

func (i Usage) String() string { return [...]string{"written", "held", "unheld"}[i] }

// ErrNoLease says that the filesystem or the privileges give no answer. It is
// not a no: nothing may be concluded.
var ErrNoLease = errors.New("no lease")

// Probe asks the kernel whether another descriptor than fd has this inode open, in any
// mount namespace and under any name, without looking at a single process:
// fcntl(2) F_SETLEASE grants a read lease only where no process has it open
// for writing, a write lease only where no other process has it open at all. A shared
// writable mapping counts as open for writing; what is opened with O_PATH does
// not count.
//
// fd must be open read-only, and must be the only descriptor of this process
// for the file. The lease is given back at once: who opens the file meanwhile
// waits for microseconds. Files of another owner need CAP_LEASE. Two places see
// nothing: overlayfs does not count shared mappings, and network filesystems
// answer for this machine alone; do not ask there.
func Probe(fd int) (Usage, error) {
	switch err := lease(fd, unix.F_WRLCK); {
	case err == nil:
		return Unused, release(fd)
	case !errors.Is(err, unix.EAGAIN):
		return UsedByWriter, noLease(err)
	}
	switch err := lease(fd, unix.F_RDLCK); {
	case err == nil:
		return UsedByReader, release(fd)
	case !errors.Is(err, unix.EAGAIN):
		return UsedByWriter, noLease(err)
	}
	return UsedByWriter, nil
}

func noLease(err error) error {
	return fmt.Errorf("%w: %w", ErrNoLease, WithCapability(err, "CAP_LEASE"))
}

// lease takes, and F_UNLCK gives back, a lease of the kind. It goes to the
// kernel without notifying the scheduler: the call never sleeps.
func lease(fd, kind int) error {
	_, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETLEASE, uintptr(kind))
	if errno != 0 {
		return errno
	}
	return nil
}

func release(fd int) error { return lease(fd, unix.F_UNLCK) }
