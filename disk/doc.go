// Package disk sees who fills the disk that a node's logs live on, who reads
// those logs and how far, and when the kubelet will begin to evict.
//
// It reads, all below roots given by the caller: PROC/self/mountinfo, statfs(2)
// of the filesystems that carry logs, the kubelet, the container runtime or the
// journal; names and sizes (never content) below the log directories; the
// headers of journal files and of compressed archives; PROC/PID/fd and fdinfo
// of whoever holds a log; and the configuration files of the kubelet,
// journald, logrotate and Docker.
//
// In the mode observe, the default, it writes nothing. It needs
// CAP_DAC_READ_SEARCH to list log directories of other owners, CAP_SYS_PTRACE
// to see what other processes hold open, and CAP_LEASE to probe files it does
// not own.
//
// A directory that holds logs is taken for hostile: below a root no symbolic
// link is followed and no mount is crossed (openat2(2), Linux 5.6; before that
// one component at a time with O_NOFOLLOW), and a filesystem that does not
// answer costs the pass a deadline once and nothing afterwards.
//
// Do not use it for images, volumes or anything that is not a log: those are
// the kubelet's.
package disk
