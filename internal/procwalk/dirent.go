package procwalk

import (
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// numbered calls visit for every entry of the open directory fd whose name is
// a number, which in /proc are pids, threads and descriptors. name is
// NUL-terminated and valid during the call only. It stops when visit returns
// false.
func numbered(fd int, buf []byte, visit func(n int, name []byte) bool) error {
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return nil
		}
		if !dirents(buf[:n], visit) {
			return nil
		}
	}
}

// dirents calls visit for the numeric names in buf and reports whether to go on.
func dirents(buf []byte, visit func(n int, name []byte) bool) bool {
	goOn := true
	hostfs.Dirents(buf, func(name []byte, _ byte) {
		if n, length := leadingInt(name); goOn && length > 0 && length == len(name)-1 {
			goOn = visit(n, name)
		}
	})
	return goOn
}

// leadingInt returns the decimal number b begins with and its length, which is
// 0 where there is none or where it does not fit a descriptor or pid (both are
// ints in the kernel).
func leadingInt(b []byte) (n, length int) {
	for length < len(b) && b[length] >= '0' && b[length] <= '9' {
		n = n*10 + int(b[length]-'0')
		if length++; length > 10 || n > 1<<31-1 {
			return 0, 0
		}
	}
	return n, length
}
