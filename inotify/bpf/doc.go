// Package bpf reads what the kernel itself counts: how many inotify instances
// and watches every account has, and may have.
//
// The counters are in struct ucounts, one for each uid in each user namespace;
// they decide EMFILE of inotify_init1(2) and ENOSPC of inotify_add_watch(2),
// and no file shows them. A program of type BPF_PROG_TYPE_SYSCALL reads the
// table they are in, when it is asked to and not in between: nothing is
// attached, nothing is pinned, nothing stays when the process ends. It changes
// nothing, and reads no other memory than that table, the namespaces it points
// to and nodetune's own credentials.
//
// Needs Linux 5.17 (bpf_loop; programs of this type are older) with BTF
// (CONFIG_DEBUG_INFO_BTF, /sys/kernel/btf/vmlinux), CAP_BPF and CAP_PERFMON, and
// the initial user namespace. It needs no hostPID and no other privilege. A
// kernel_lockdown(7) for confidentiality forbids it.
//
// # Cost
//
// A look takes 15 µs of CPU time on a node and allocates three times; opening
// it 30 ms, and 0.5 MiB that stay.
//
// Nothing of it is believed before it was tried, see [Open].
package bpf
