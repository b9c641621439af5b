// Package sysctl holds kernel settings above floors: it reads what is, plans
// what must change, writes it and reads it back.
//
// It reads and writes <procfs>/sys/..., reads <procfs>/meminfo and
// <procfs>/sys/kernel/random/boot_id, and keeps its record of originals, its
// lock and the pause switch in <rootfs>/run/nodetune.
//
// Writing fs.*, vm.* and kernel.* needs uid 0 of the initial user namespace and
// a writable /proc/sys, but no capability: the kernel compares the euid with
// the global root and then looks at the file mode alone (test_perm in
// fs/proc/proc_sysctl.c). user.* needs CAP_SYS_RESOURCE. Reading needs nothing.
// Any kernel since 2.6.13, which brought inotify, will do; a key it lacks is
// [Absent], not a failure.
//
// It never lowers a value, unless a rule says exactly and allowLower. It never
// creates a file below /proc/sys, follows no link there, and refuses keys that
// others own (net.*, the kubelet's six). It puts nothing back by itself: a
// limit that drops under a running collector is the failure it exists to
// prevent.
//
// Do not use it for a key that holds more than one number, or text.
package sysctl
