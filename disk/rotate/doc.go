// Package rotate rotates logs of the host by rename and reopen, or in place. Every
// step can be interrupted and is finished by the next pass.
//
// The path of the log is never missing: the new file and the log exchange their
// names, renameat2(2). A writer that cannot reopen its log keeps its file: the
// copied head is cut off with FALLOC_FL_COLLAPSE_RANGE (ext4, xfs), and elsewhere
// the log is truncated at its end. It takes CAP_CHOWN, CAP_DAC_OVERRIDE,
// CAP_FOWNER and CAP_LEASE for logs of other owners, CAP_KILL to signal writers
// of other users, and CAP_SYS_PTRACE to see readers and writers.
//
// It refuses containers' logs, logs that logrotate rotates, and logs whose writer
// it cannot identify or ask. It does not rotate a log whose reader is behind,
// unless Options.Force is set.
package rotate
