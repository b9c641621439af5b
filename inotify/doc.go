// Package inotify models the use of inotify instances, watches and open files:
// which process holds them, which account the kernel charges, how much is left,
// and what to raise before a limit is reached. It is pure: it reads no file and
// makes no system call.
//
// The kernel refuses per account, which is a user namespace and a uid
// (user_namespaces(7), struct ucounts in the kernel). It charges the effective
// uid at inotify_init1(2), and the owner of every namespace above.
//
// Three packages measure, each better than the next:
//
//   - bpf reads the kernel's own counters and descriptor tables. Its figures are
//     exact. It needs CAP_BPF and CAP_PERFMON.
//   - tracefs counts the calls that fail, where BPF is not available.
//   - procscan walks procfs and derives the account. Every figure has a
//     [Quality], and [Usage].Unknown lists what a pass could not know.
//
// [Pressure], [Raise], [Floors], [Surge] and [History] decide from a [Usage] and
// a [Policy].
package inotify
