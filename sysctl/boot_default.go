package sysctl

import (
	"fmt"

	"github.com/nodetune/nodetune/internal/kernelmem"
	"github.com/nodetune/nodetune/internal/meminfo"
)

// Machine is what the floors are derived from.
type Machine struct {
	MemoryBytes int64
}

// ReadMachine reads <procfs>/meminfo (proc_meminfo(5)).
func ReadMachine(procfs string) (Machine, error) {
	n, err := meminfo.Read(procfs, meminfo.Total)
	if err != nil {
		return Machine{}, fmt.Errorf("read the size of memory: %w", err)
	}
	return Machine{MemoryBytes: n}, nil
}

// Costs and clamps of the kernel's own defaults.
const (
	// inotifyWatchCost is INOTIFY_WATCH_COST of fs/notify/inotify/inotify_user.c:
	// sizeof(struct inotify_inode_mark) + 2*sizeof(struct inode), 80 + 2*616 on
	// Linux 6.18. It differs by some percent with version and configuration.
	inotifyWatchCost = 1312
	minWatches       = 8192
	maxWatches       = 1048576
)

// KernelDefault returns what this kernel gives k by itself at boot, and false
// where nodetune does not know. exact is false where the number is computed
// from the size of memory: the kernel did so earlier, when a little more of it
// was in use, and with structures that differ between builds.
func KernelDefault(k Key, m Machine) (v Value, exact, ok bool) {
	switch k {
	case MaxUserInstances, UserMaxInstances:
		return 128, true, true
	case MaxQueuedEvents:
		return 16384, true, true
	case NrOpen:
		return 1024 * 1024, true, true
	case MaxUserWatches, UserMaxWatches:
		// Since 5.11 1% of memory; 8192 before.
		n := m.MemoryBytes / 100 / inotifyWatchCost
		return Value(min(max(n, minWatches), maxWatches)), n >= maxWatches*21/20 || n <= minWatches*19/20, true
	case EpollMaxUserWatches:
		return Value(m.MemoryBytes / 25 / kernelmem.EpollWatchBytes), false, true
	case FileMax:
		// files_maxfiles_init of fs/file_table.c: 10% of memory at 1 KiB a file,
		// never below NR_FILE (8192).
		return Value(max(m.MemoryBytes/10/1024, 8192)), false, true
	case "fs.aio-max-nr":
		return 65536, true, true
	case "vm.max_map_count":
		return 65530, true, true
	}
	return Unknown, false, false
}
