package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// RequireOwnKernel returns an error unless procfs shows the processes and settings of
// the running kernel. A tree that a test made does not.
func RequireOwnKernel(procfs string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(procfs, &fs); err != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("%s is not of this kernel", procfs)
	}
	return nil
}
