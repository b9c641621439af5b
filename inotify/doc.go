// Package inotify accounts for inotify instances, watches and open files: who
// holds them, whom the kernel charges, how much is left.
//
// The kernel refuses per account, which is a user namespace and a uid
// (user_namespaces(7), struct ucounts in the kernel), and charges the
// effective uid at inotify_init1(2) and the owner of every namespace above.
// No file says what an account uses: a [Ledger] asks the kernel. Who holds an
// instance, and whom it is charged to, is found by [Holders]. Package bpf has
// both, exact and without a capability but its own. Where they are not to be had,
// [Scanner] walks procfs and works out whom is charged. What that cannot know is
// marked: every figure has a [Quality].
//
// Without them it reads, below the procfs mount it is given, PID/fd, PID/task, PID/stat,
// PID/status, PID/limits, PID/cgroup, PID/ns/user, PID/fdinfo of inotify
// instances; below sysfs the size of the slab of inotify marks and nodetune's own
// memory cgroup; with them sys/fs/inotify and sys/fs/file-nr alone. It writes
// nothing, and holds no inotify instance.
//
// Capabilities without them: CAP_DAC_READ_SEARCH to list the descriptors of other users'
// processes, CAP_SYS_PTRACE to read them and to compare them (kcmp(2)), and
// CAP_SETUID for the canary probe, if it is asked for. Kernel: 3.8 (fdinfo);
// 6.2 to count descriptors without listing them.
//
// # Cost
//
// A pass that asks the kernel itself takes 0.006 of one over procfs: 0.14 ms
// with 50 processes, and 5 ms with the 2,000 below (x-kernelpass of BenchmarkPass).
//
// A pass over procfs takes about 5 µs for a descriptor on a busy machine and 2 µs on an
// idle one, all of it in the kernel, and 2 µs for a watch that is counted:
// BenchmarkPass measures 1.0 times the CPU time of the same system calls in a
// bare loop, 0.4 of procfs' FileDescriptorsInfo and 0.35 of lsof, with fewer
// than 400 allocations and 6.3 MiB resident, for 2,000 processes, 70,000
// descriptors and 200,000 watches. Without the records it is 0.35 of that;
// counting descriptors alone by the size of PID/fd is 0.025.
//
// Every 30 s that is 0.1 % of a core on a node with 300 processes and 5,000
// descriptors, and 0.5 to 1.2 % on the one above; the agent makes it seldomer.
// Counting watches adds countPercent, 1 %, at most.
//
// A record of a large instance is expensive for the process that owns it, see
// [Policy]. Do not use this package to follow one process in a loop.
package inotify
