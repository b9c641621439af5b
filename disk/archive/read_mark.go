package archive

import (
	"os"

	"golang.org/x/sys/unix"
)

// ReadState is what is known of who has read an archive of a container's log, and so
// what may become of it.
type ReadState int

const (
	StateRead    ReadState = iota // to its end, by whoever reads the log: it may go
	StateUnknown                  // it goes by number, as with the kubelet
	StateUnread                   // somebody has still to read it: it stays
)

// unreadMark is an attribute of an archive that somebody has still to read, and of
// its compressed form: fates are forgotten when a run ends, and archives that have
// none go by number.
const unreadMark = "user.nodetune.unread"

func IsUnread(f *os.File) bool {
	_, err := unix.Fgetxattr(int(f.Fd()), unreadMark, nil)
	return err == nil
}

// SetUnread sets or removes the mark. Where it cannot (tmpfs before Linux 6.6), a run
// to come does not know what this one does.
func SetUnread(f *os.File, unread bool) {
	switch {
	case unread == IsUnread(f): // a change is an event for whoever watches the file
	case unread:
		_ = unix.Fsetxattr(int(f.Fd()), unreadMark, nil, 0)
	default:
		_ = unix.Fremovexattr(int(f.Fd()), unreadMark)
	}
}
