package procscan

import (
	"runtime"

	"github.com/nodetune/nodetune/internal/instances"
)

// UpperBound returns how many instances and how many watches an account can have
// at most, from two counters of the node, and false where the kernel does not
// say. It takes microseconds where a walk takes 0.1 ms for each process: enough
// to see that there is no need for one.
//
// An instance is an open file, so that there are no more of them than
// fs.file-nr says (proc_sys_fs(5)); a watch is a mark in the slab.
func UpperBound(procfs, sysfs string) (held, watches int64, ok bool) {
	files := openLimits(procfs)
	defer files.close()
	open := files.first(files.fileNr)
	watches = instances.MostWatches(sysfs)
	if open < 0 || watches < 0 {
		return 0, 0, false
	}
	// fs.file-nr is read from a counter that each CPU adds to in batches: of 32,
	// or twice the number of CPUs where that is more (lib/percpu_counter.c).
	cpus := int64(runtime.NumCPU())
	return int64(open) + cpus*max(32, 2*cpus), watches, true
}
