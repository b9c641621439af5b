package procwalk

import (
	"os"
	"path/filepath"
	"syscall"
)

// InInitialPIDNamespace reports whether this process, and so its procfs, is in the pid
// namespace of the node. Its inode number is fixed (PROC_PID_INIT_INO in
// linux/proc_ns.h).
func InInitialPIDNamespace(procfs string) bool {
	const initial = 0xEFFFFFFC
	fi, err := os.Stat(filepath.Join(procfs, "self/ns/pid"))
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Ino == initial
}
