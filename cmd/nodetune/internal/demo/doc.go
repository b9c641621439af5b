// Package demo shows errno 24 and errno 28 of inotify, and their cure, on any
// Linux machine in a few seconds.
//
// It starts a child in a user namespace of its own and lowers
// user.max_inotify_instances and user.max_inotify_watches of that namespace
// (namespaces(7)). The child then calls inotify_init1(2) and
// inotify_add_watch(2) until the kernel refuses. Needs no capability, but the
// right to create a user namespace, and a writable /proc/sys/user. No limit of
// the host changes. While it runs, the child's instances and watches also count
// for the user that started it: 5 instances and 17 watches at most. The end of
// the child gives them back.
package demo
