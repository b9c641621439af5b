// Package inotify accounts for inotify instances, watches and open files: who
// holds them, whom the kernel charges, how much is left.
//
// The kernel refuses per account, which is a user namespace and a uid
// (user_namespaces(7), struct ucounts in the kernel), and charges the
// effective uid at inotify_init1(2) and the owner of every namespace above.
// No file says what an account uses, so [Scanner] counts what processes hold
// and works out whom it is charged to. What that cannot know is marked: every
// figure has a [Quality].
//
// It reads, below the procfs mount it is given, PID/fd, PID/task, PID/stat,
// PID/status, PID/limits, PID/cgroup, PID/ns/user, PID/fdinfo of inotify
// instances, sys/fs/inotify, sys/fs/file-nr; below sysfs the size of the slab
// of inotify marks and nodetune's own memory cgroup. It writes nothing, and
// holds no inotify instance.
//
// Capabilities: CAP_DAC_READ_SEARCH to list the descriptors of other users'
// processes, CAP_SYS_PTRACE to read them and to compare them (kcmp(2)), and
// CAP_SETUID for the canary probe, if it is asked for. Kernel: 3.8 (fdinfo);
// 6.2 to count descriptors without listing them.
//
// A record of a large instance is expensive for the process that owns it, see
// [Policy]. Do not use this package to follow one process in a loop.
package inotify
