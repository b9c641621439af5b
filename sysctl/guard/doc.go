// Package guard observes writes of the kernel settings that nodetune manages,
// as they happen, and can keep them at or above their floors. It names the
// process that wrote, its cgroup, and the old and the new value.
//
// # What it attaches
//
// One BPF program of type cgroup/sysctl, attached to the root of the cgroup v2
// hierarchy by a BPF link. Every process of the node is below that root, also
// where controllers use cgroup v1. The kernel runs the program for each read and
// write of each file below /proc/sys. The program returns at once for a read,
// and for a write of a key that is not managed.
//
// In mode [Observe] it records the write and changes nothing. In mode [Hold] a
// write below the floor takes effect as the floor:
//
//   - Where the floor fits into the text that the writer wrote, the kernel gets
//     the floor in its place (bpf_sysctl_set_new_value).
//   - Where it does not (128 in place of 65536), and on kernels that ignore what
//     a program sets (6.1), the write has no effect, and the key keeps its value.
//     The kernel would otherwise report more bytes as written than the writer
//     wrote, and a Go program panics then. If the key was below its floor and the
//     write raises it, it passes.
//
// The writer gets no error in any of these cases: it may be an init container.
//
// # What it does not change
//
// A write at or above the floor, a write of the agent itself and of processes
// given to [Guard.Allow], a write at an offset other than 0 (the kernel ignores
// it), a value that is missing, negative, past 2^63-1, or not a number to the
// kernel. An error inside the program means that the write passes.
//
// It refuses keys that exist once in each network, IPC or UTS namespace (net.*,
// kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*). A key of user.* counts in
// the initial user namespace alone. user.max_inotify_instances and
// user.max_inotify_watches are other names of fs.inotify.max_user_instances and
// fs.inotify.max_user_watches there, and are guarded with them.
//
// Another program that is attached to the same root runs before or after this
// one (BPF_F_ALLOW_MULTI); one that runs after it has the last word, see
// [Programs]. A program with CAP_SYS_ADMIN can detach it. It is no protection
// against an attacker.
//
// # What it reads
//
// <procfs>/sys/kernel/sysctl_writes_strict, one byte of one key to learn which
// process of the kernel's it is, and the cgroup mount. Where cgroup v2 is not
// mounted it mounts one that has no place in any mount table and goes with the
// process.
//
// # What it needs
//
// CAP_BPF and CAP_NET_ADMIN, the initial user namespace, and Linux 5.8 with
// CONFIG_CGROUP_BPF (cgroup/sysctl 5.2, links 5.7, ring buffer 5.8). It was
// tried on 6.1, 6.12 and 6.18. CAP_PERFMON and BTF (CONFIG_DEBUG_INFO_BTF) add
// the name of the writer, its cgroup where cgroup v1 is used, and user.*. From
// 6.1 up to 6.15 the name needs no CAP_PERFMON. CAP_SYS_ADMIN is needed only to
// mount cgroup v2 where it is not mounted. [UnavailableError] and
// [Guard.Limits] name what is missing.
//
// Nothing is pinned: the link ends with the process, however that ends.
package guard
