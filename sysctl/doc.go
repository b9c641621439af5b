// Package sysctl keeps kernel settings at or above configured floors. It reads
// the current values, plans changes, writes them and reads them back.
//
// It reads and writes <procfs>/sys/..., reads <procfs>/meminfo and
// <procfs>/sys/kernel/random/boot_id, and keeps its record of originals, its
// lock and the pause switch in <rootfs>/run/nodetune.
//
// Writing fs.*, vm.* and kernel.* needs uid 0 of the initial user namespace and
// a writable /proc/sys, but no capability: the kernel compares the euid with
// the global root and then looks at the file mode alone (test_perm in
// fs/proc/proc_sysctl.c). user.* needs CAP_SYS_RESOURCE. Reading needs nothing.
// It works on any kernel since 2.6.13, which introduced inotify. A key that the
// kernel lacks is [Absent], not a failure.
//
// It never lowers a value, unless a rule says exactly and allowLower. It never
// creates a file below /proc/sys, follows no link there, and refuses keys that
// others own (net.*, the kubelet's six). It restores nothing on its own: a
// limit that drops below what a running collector uses is the failure that the
// package exists to prevent.
//
// Do not use it for a key that holds more than one number, or text.
package sysctl
