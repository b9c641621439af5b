package procwalk

import "golang.org/x/sys/unix"

// Types of kcmp(2), from linux/kcmp.h.
const (
	kcmpFile  = 0
	kcmpFiles = 2
)

// Order is what kcmp(2) says about two kernel objects. The order is stable
// while both exist, so that objects can be sorted by it.
type Order int

// The answers of kcmp(2).
const (
	Same Order = iota
	Before
	After
	Unordered
)

// CompareFile compares the open file descriptions (open(2)) behind two
// descriptors: Same where one was inherited, dup'ed or passed from the other.
// It needs PTRACE_MODE_READ_REALCREDS of both processes and CONFIG_KCMP. Call
// it with pids of a [Walker] that are [Walker.Ours] only.
func CompareFile(pid1, fd1, pid2, fd2 int) (Order, error) {
	return kcmp(pid1, pid2, kcmpFile, fd1, fd2)
}

func kcmp(pid1, pid2, kind, i1, i2 int) (Order, error) {
	r, _, errno := unix.RawSyscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), uintptr(kind), uintptr(i1), uintptr(i2), 0)
	if errno != 0 {
		return 0, errno
	}
	return Order(r), nil
}
