// Package ledger counts how many bytes of containers' logs collectors read, and how many
// were removed before a collector had read them.
//
// It looks at the log directories of the containers that are collected, and at the
// descriptors of the collectors, /proc/PID/fd and fdinfo: some times a second while a
// collector is behind. When a log file has no name and no reader any more, what the
// furthest collector had not read of it is lost. It takes CAP_DAC_READ_SEARCH and
// CAP_SYS_PTRACE, and changes nothing.
//
// A collector that reads with pread(2) or mmap(2) has no offset that another process
// can see, and neither has one that opens and closes its files between two looks: what
// is removed of their logs has the cause unknown. What is read is not yet delivered.
package ledger
