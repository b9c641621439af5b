// Package tracefs reports which calls of inotify_init1(2) and inotify_add_watch(2)
// fail, on nodes without BPF. It uses the kernel's tracing of system calls in a
// tracing instance of its own (Documentation/trace/ftrace.rst), so it does not
// disturb other users of tracing.
//
// It writes below the tracefs mount: it creates instances/nodetune-PID-START,
// removes it on Close, and removes those of nodetune processes that were killed. Below
// the procfs mount it reads PID/stat, status, limits, cgroup and fd.
//
// It needs uid 0 (tracefs belongs to root), a writable tracefs,
// CONFIG_FTRACE_SYSCALLS, Linux 4.9, and the pids of the host in procfs. To find
// which limit caused errno 24 of another user's process it needs CAP_SYS_PTRACE and
// CAP_DAC_READ_SEARCH.
//
// # Cost
//
// While it is open, every system call of the node takes 34 ns longer
// (BenchmarkFailures of package bpf), since the kernel traces all system calls or
// none. Open it only on request. Package bpf reports more details.
package tracefs
