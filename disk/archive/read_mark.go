package archive

import (
	"os"

	"golang.org/x/sys/unix"
)

// ReadState is what is known of who has read an archive of a container's log, and so
// what may become of it.
type ReadState int

// The states of an archive.
const (
	StateRead    ReadState = iota // the readers of the log have read it to its end: it may be removed
	StateUnknown                  // it is removed by its number, as the kubelet does
	StateUnread                   // a reader has not read all of it: it stays
)

// unreadMark is an attribute of an archive that a reader has not read to its end, and
// of its compressed form. nodetune forgets the states when it ends, and removes
// archives without a state by their number.
const unreadMark = "user.nodetune.unread"

// IsUnread reports whether f has the mark.
func IsUnread(f *os.File) bool {
	_, err := unix.Fgetxattr(int(f.Fd()), unreadMark, nil)
	return err == nil
}

// SetUnread sets or removes the mark. Where it cannot (tmpfs before Linux 6.6), a run
// to come does not know what this one does.
func SetUnread(f *os.File, unread bool) {
	switch {
	case unread == IsUnread(f): // a change is an event for each process that watches the file
	case unread:
		_ = unix.Fsetxattr(int(f.Fd()), unreadMark, nil, 0)
	default:
		_ = unix.Fremovexattr(int(f.Fd()), unreadMark)
	}
}
