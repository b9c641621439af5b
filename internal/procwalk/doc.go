// Package procwalk walks /proc: every process, every descriptor table and every
// descriptor, once.
//
// It reads, below a procfs mount given by the caller, PID/fd and, where a
// process has more than one thread, PID/task/TID/fd; everything else about a
// process (stat, status, limits, cgroup, ns/user, fdinfo) only when a visitor
// asks for it. Files are read relative to the open directory of the process,
// so that a pid that is reused during the walk is never mistaken for the
// process before it (proc(5): they fail with ESRCH then). It writes nothing.
//
// Listing the descriptors of a process of another user needs
// CAP_DAC_READ_SEARCH, reading what they refer to CAP_SYS_PTRACE (proc(5),
// ptrace(2) "Ptrace access mode checking"). A process that cannot be read is
// counted with the reason and does not stop the walk; one that ends meanwhile
// is normal.
//
// Calls that take a pid (kcmp(2), prlimit(2)) are made only where the numbers
// in procfs are ours, see [Walker.Ours].
//
// prometheus/procfs does not replace it: on a node with 2,000 processes a pass with
// this walk takes 0.4 of the CPU time of Proc.FileDescriptorsInfo, which also
// stops reading a record of watches after 1 MiB. BenchmarkPass of
// inotify/procscan measures that. Files that are read once, such as fs.file-nr
// in nodetune restore, are read with procfs.
//
// Do not use it to look at one known process: open its directory.
package procwalk
