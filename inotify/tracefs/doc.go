// Package tracefs tells which calls of inotify_init1(2) and
// inotify_add_watch(2) fail, where there is no BPF: by the kernel's own tracing
// of system calls, in an instance of our own (Documentation/trace/ftrace.rst).
// What others trace is not disturbed.
//
// It writes below the tracefs mount it is given: it makes instances/nodetune-PID-START,
// and removes it, and those of nodetunes that were killed. Of processes it reads
// PID/stat, status, limits, cgroup and fd below the procfs mount.
//
// It needs uid 0 (tracefs is root's), tracefs writable, CONFIG_FTRACE_SYSCALLS,
// the pids of the host in procfs, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH to tell
// which limit errno 24 was of another user's process. Linux 4.9 or later.
//
// # Cost
//
// As soon as it is on, every system call of the node takes 34 ns longer (package
// bpf, BenchmarkRefusals): the kernel has one switch for tracing any. Package bpf
// costs that too, and tells more. Do not open it unless somebody has asked for
// it.
package tracefs
