package archive

import (
	"os"

	"golang.org/x/sys/unix"
)

// ownMark is an attribute of every archive that nodetune has made, compressed or
// not. Another program may give its files the same names.
const ownMark = "user.nodetune.archive"

// IsOwn reports whether nodetune has made the archive f. Where the filesystem
// keeps no user attributes (tmpfs before Linux 6.6) the answer is no.
func IsOwn(f *os.File) bool {
	_, err := unix.Fgetxattr(int(f.Fd()), ownMark, nil)
	return err == nil
}

// SetOwn marks f as an archive of nodetune, or takes the mark away from a file
// that has it with the attributes of another one. It does nothing where the
// filesystem keeps no user attributes.
func SetOwn(f *os.File, own bool) {
	switch {
	case own == IsOwn(f):
	case own:
		_ = unix.Fsetxattr(int(f.Fd()), ownMark, nil, 0)
	default:
		_ = unix.Fremovexattr(int(f.Fd()), ownMark)
	}
}
