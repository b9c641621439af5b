// Package hostfs opens, lists and measures files below the root directory of a
// host, which a container has mounted somewhere else.
//
// It uses openat2(2), statx(2) and getdents64(2). Links on the way to a path that
// the administrator configured are followed inside the root; below a log
// directory no link is followed and no mount is crossed. Before Linux 5.6, and
// under a seccomp profile that refuses openat2, a path is opened one component
// at a time with O_NOFOLLOW.
//
// It needs no capability of its own: CAP_DAC_READ_SEARCH lists directories of
// other owners, CAP_SYS_PTRACE opens the root of another process. It writes
// nothing.
package hostfs
