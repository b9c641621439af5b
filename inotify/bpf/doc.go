// Package bpf reads what the kernel itself knows: how many inotify instances
// and watches every account has, and may have ([Table]), and which process holds
// which of them ([Walk]).
//
// The counters are in struct ucounts, one for each uid in each user namespace;
// they decide EMFILE of inotify_init1(2) and ENOSPC of inotify_add_watch(2),
// and no file shows them. Who holds an instance is in the descriptor tables,
// which /proc/PID/fd shows, but neither whom it is charged to, nor whether two
// descriptors are of one, nor how many events wait to be read.
//
// Programs of type BPF_PROG_TYPE_SYSCALL read them, when they are asked to and
// not in between: nothing is pinned, nothing stays when the process ends. They
// change nothing, lock nothing, and read no other memory than that table, the
// tasks with their credentials, limits, cgroups and descriptor tables, and the
// instances in these. What changes during a walk is missed or met twice.
// Addresses do not leave this package.
//
// Who asks from time to time finds out late: a loop of inotify_init1(2) takes
// 8192 instances within milliseconds. An [Alarm] has the kernel look, by a timer
// and at the tick of busy CPUs, and wake the reader. [Refusals] are two more
// programs, for those who ask for them.
//
// Needs Linux 5.15 (timers; bpf_loop is newer, and made up for) with BTF
// (CONFIG_DEBUG_INFO_BTF, /sys/kernel/btf/vmlinux), CAP_BPF and CAP_PERFMON, and
// the initial user namespace. It needs no hostPID from 6.7 on (bpf_iter_task_new);
// before that a walk uses the kernel's iterator of tasks, which shows those of
// its own pid namespace. A kernel_lockdown(7) for confidentiality forbids all of
// it. An instance that was sent through a socket and not received, or that is a
// registered file of an io_uring alone, is in no descriptor table: it is charged,
// and not found.
//
// # Cost
//
// A look at the table takes 15 µs of CPU time on a node and allocates three
// times; a walk 0.1 ms with 50 processes, and 5 ms of a busy machine with 2,000 that
// have 70,000 descriptors, 400 instances and 200,000 watches, where a pass over
// procfs takes 1 s. Opening both takes 60 ms, and 1.2 MiB of the kernel's memory
// stay. An alarm costs 6 µs a hundred times a second, 0.06 % of one CPU, and
// 0.4 µs a tick of a busy CPU, 0.01 % of it with 250 ticks a second; no system
// call costs anything.
//
// Nothing of it is believed before it was tried, see [Open] and [OpenWalk].
package bpf
