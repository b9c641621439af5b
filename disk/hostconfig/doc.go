// Package hostconfig reads what the kubelet, logrotate, journald and Docker are
// configured to do to logs.
//
// It reads their configuration files through functions that the caller gives, at
// most 1 MiB of each, and the command line of the kubelet. It needs no
// capability; reading below the root of another process takes CAP_SYS_PTRACE.
//
// It changes no configuration, and does not complain about what it does not
// know: each program reports its own mistakes.
package hostconfig
