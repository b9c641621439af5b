// Package logdir makes changes in log directories safe against other users: it
// opens, creates, renames and removes files by plain names in an open directory.
//
// It refuses a directory that others can write to, and links, hard links, mount
// points and immutable files in it: such a file is a SkippedError, not a failure.
// Whether a process has a file open is asked with a lease, fcntl(2) F_SETLEASE,
// which takes CAP_LEASE for files of other owners; which process it is takes a
// walk over /proc with CAP_SYS_PTRACE. Changing files of other owners takes
// CAP_DAC_OVERRIDE, CAP_FOWNER and CAP_CHOWN.
//
// RENAME_EXCHANGE and RENAME_NOREPLACE are used where the filesystem has them.
package logdir
