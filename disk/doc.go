// Package disk sees who fills the disk that a node's logs live on, who reads
// those logs and how far, and when the kubelet will begin to evict.
//
// It reads, all below roots given by the caller: PROC/self/mountinfo, statfs(2)
// of the filesystems that carry logs, the kubelet, the container runtime or the
// journal; names and sizes (never content) below the log directories; the
// headers of journal files, compressed archives and core dumps; PROC/PID/fd and
// fdinfo of the processes that have a log open; PROC/sys/kernel/core_pattern; and the
// configuration files of the kubelet, journald, logrotate and Docker.
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
// What a rotation is built from, and what happens where the filesystem of the
// logs lacks it; a test mounts each of these and looks:
//
//	filesystem  RENAME_EXCHANGE  F_SETLEASE  COLLAPSE_RANGE  PUNCH_HOLE  ACL, label, user.*
//	ext4        yes              yes         yes             yes         kept
//	ext2, ext3  yes              yes         no              yes         kept
//	xfs         yes              yes         yes             yes         kept
//	btrfs       yes              yes         no              yes         kept
//	tmpfs       yes              yes         no              yes         kept
//	overlay     its upper's      but mmap    its upper's     its upper's kept
//	FUSE        no               yes         no              it depends  kept
//
// Without them:
//
//   - RENAME_EXCHANGE (renameat2(2)): two renames instead, and the path is missing
//     for a moment. A run killed in it leaves the log without a name; the next
//     makes it again, like its archive, and asks the writer to reopen.
//   - F_SETLEASE (fcntl(2)): nothing is compressed or removed where the kernel
//     does not say who has it open, as on some network filesystems. The log is
//     rotated, its archives stay, and the error says so.
//   - COLLAPSE_RANGE (fallocate(2)): a log whose writer cannot reopen it is copied
//     to its end and truncated. What is written in between is lost: one to seven
//     lines at a million lines per second, more through FUSE. A line is there
//     whole or not at all if its writer writes whole lines: one that writes a line
//     in pieces, as a buffer fills, may lose one of them.
//   - PUNCH_HOLE (fallocate(2)): deleted files keep their space until their readers
//     close them.
//
// Do not use it for images, volumes or anything that is not a log: those are
// the kubelet's.
package disk
