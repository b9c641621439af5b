// Package bpf reads inotify usage from the kernel's own data: how many instances
// and watches each account has and may have ([Table]), and which process holds
// which instance ([Walk]).
//
// The kernel keeps the counters in struct ucounts, one for each uid in each user
// namespace. They decide when inotify_init1(2) fails with EMFILE and
// inotify_add_watch(2) with ENOSPC, and no file shows them. The holders of an
// instance are in the descriptor tables, which /proc/PID/fd shows. That directory
// does not show which account an instance is charged to, whether two descriptors
// are of the same instance, or how many events are queued.
//
// A walk can also find the open files below some directories, with their offsets, and
// what the instances of the node watch ([Walk.OpenFiles]). It compares directories and
// not names, so the mounts of a container do not matter. A file that is mapped and not
// open is in no descriptor table, and a walk does not find it.
//
// Programs of type BPF_PROG_TYPE_SYSCALL read this data on request. Nothing is
// pinned, and nothing stays when the process ends. The programs change nothing,
// take no lock, and read only the accounts, the tasks with their credentials,
// limits, cgroups and descriptor tables, and the instances in these tables. A
// descriptor that changes during a walk can be missed or found twice. Kernel
// addresses do not leave this package.
//
// A reader that polls notices a surge too late: a loop of inotify_init1(2) takes
// 8192 instances within milliseconds. A [ThresholdNotifier] lets the kernel check
// the accounts, with a timer and at the tick of busy CPUs, and wakes the reader. A
// [FailureCounter] counts the calls that fail, in one of several ways: see [Way].
// Both are loaded on request only.
//
// # Requirements
//
// The package needs Linux 5.15 (bpf_timer; bpf_loop of 5.17 is replaced where it is
// missing) with BTF (CONFIG_DEBUG_INFO_BTF, /sys/kernel/btf/vmlinux), CAP_BPF and
// CAP_PERFMON, and the initial user namespace. Since Linux 6.7 (bpf_iter_task_new)
// it works without hostPID. On older kernels a walk uses the kernel's task
// iterator, which shows the processes of its own pid namespace. The confidentiality
// mode of kernel_lockdown(7) forbids all of it.
//
// An instance that was sent through a socket and not received, or that is only a
// registered file of an io_uring, is in no descriptor table. It is charged to an
// account, and a walk does not find it.
//
// # Cost
//
// Reading the accounts takes 15 µs of CPU time on a usual node, and 3 allocations. A
// walk takes 0.1 ms with 50 processes, and 5 ms on a busy machine with 2,000
// processes, 70,000 descriptors, 400 instances and 200,000 watches, where a pass
// over procfs takes 1 s. Opening both takes 60 ms and 1.2 MiB of kernel memory. A
// notifier costs 6 µs a hundred times a second, 0.06 % of one CPU, and 0.4 µs for
// each tick of a busy CPU, 0.01 % of it with 250 ticks a second. No system call
// becomes slower.
//
// [Open] and [OpenWalk] test the programs on instances of their own before any
// figure is used.
package bpf
