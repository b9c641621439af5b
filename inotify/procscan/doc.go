// Package procscan counts inotify instances, watches and descriptors by walking
// procfs.
//
// It reads PID/fd, PID/task, PID/stat, PID/status, PID/limits, PID/cgroup,
// PID/ns/user and, of inotify instances, PID/fdinfo below the procfs mount it is
// given. It also reads sys/fs/inotify, sys/fs/file-nr, the size of the slab of
// inotify marks below sysfs, and nodetune's own memory cgroup. It writes nothing,
// and holds no inotify instance. Where a [inotify.HolderSource] and a
// [inotify.AccountSource] work, it asks them, and reads the limits alone.
//
// Capabilities: CAP_DAC_READ_SEARCH to list the descriptors of other users'
// processes, CAP_SYS_PTRACE to read and compare them (kcmp(2)), and CAP_SETUID
// for a probe, if one is asked for. Kernel: 3.8 (fdinfo); 6.2 to count
// descriptors without listing them.
//
// # Cost
//
// A pass takes about 5 µs for a descriptor on a busy machine and 2 µs on an idle
// one, all of it in the kernel, and 2 µs for a watch that is counted. For 2,000
// processes, 70,000 descriptors and 200,000 watches BenchmarkPass measures 1.0
// times the CPU time of the same system calls in a bare loop. That is 0.4 of
// FileDescriptorsInfo of package procfs and 0.35 of lsof, which is why this walk
// does not use package procfs. It makes fewer than 400 allocations and has 6.3
// MiB resident. Without the records it takes 0.35 of that; counting descriptors
// alone by the size of PID/fd takes 0.025. A pass that asks the kernel itself
// takes 0.006: 0.14 ms with 50 processes (x-kernelpass of BenchmarkPass).
//
// Every 30 s that is 0.1 % of a core on a node with 300 processes and 5,000
// descriptors, and 0.5 to 1.2 % on the one above; the agent then makes the
// interval longer. Counting watches adds countPercent, 1 %, at most.
//
// Reading the record of a large instance is expensive for the process that owns
// it, see [inotify.Policy]. Do not use this package to follow one process in a
// loop.
package procscan
