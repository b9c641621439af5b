// Package archive knows the names of rotated logs, and compresses an archive so that
// a crash at any moment leaves it or its compressed form.
//
// It knows the names that logrotate, the kubelet, journald and nodetune itself give.
// The archive is removed only when the compressed form is complete, on the disk
// and verified, and no process has the archive open. Compression runs in the I/O
// class idle.
//
// The state of every archive is kept in its name and in one extended attribute,
// user.nodetune.unread: nothing else has to survive a crash.
package archive
