package logdir

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// CopyAttributes gives to what from has beside its content: owner, POSIX ACL,
// SELinux label, user attributes, and last the mode, so that no other user
// can open the file before it is as closed as the old one was.
func CopyAttributes(to, from *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", from.Name(), err)
	}
	if err := unix.Fchown(int(to.Fd()), int(st.Uid), int(st.Gid)); err != nil {
		return fmt.Errorf("give %s to %d:%d: %w", to.Name(), st.Uid, st.Gid, WithCapability(err, "CAP_CHOWN"))
	}
	if err := copyXattrs(to, from); err != nil {
		return err
	}
	if err := unix.Fchmod(int(to.Fd()), st.Mode&0o7777); err != nil {
		return fmt.Errorf("set the mode of %s to %04o: %w", to.Name(), st.Mode&0o7777, WithCapability(err, "CAP_FOWNER"))
	}
	return nil
}

// CopyTimes keeps on an archive when its log was last written.
func CopyTimes(to, from *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", from.Name(), err)
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", to.Fd()), times, 0); err != nil {
		return fmt.Errorf("set the times of %s: %w", to.Name(), WithCapability(err, "CAP_FOWNER"))
	}
	return nil
}

// copied reports whether an extended attribute belongs to the log rather than
// to its content: capabilities and integrity hashes of the old file would be
// wrong for the new.
func copied(name string) bool {
	return name == "system.posix_acl_access" || name == "security.selinux" || strings.HasPrefix(name, "user.")
}

// needed is the capability for setting the attribute on a file of another owner,
// xattr(7).
func needed(name string) string {
	switch {
	case strings.HasPrefix(name, "security."):
		return "CAP_SYS_ADMIN where no security module knows it"
	case strings.HasPrefix(name, "user."):
		return "CAP_DAC_OVERRIDE"
	}
	return "CAP_FOWNER"
}

func copyXattrs(to, from *os.File) error {
	// A default ACL of the directory may have given the new file one.
	if err := unix.Fremovexattr(int(to.Fd()), "system.posix_acl_access"); err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("remove the inherited ACL of %s: %w", to.Name(), WithCapability(err, "CAP_FOWNER"))
	}
	names := make([]byte, 1<<10)
	n, err := unix.Flistxattr(int(from.Fd()), names)
	if errors.Is(err, unix.ERANGE) {
		names = make([]byte, 64<<10) // XATTR_LIST_MAX
		n, err = unix.Flistxattr(int(from.Fd()), names)
	}
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the extended attributes of %s: %w", from.Name(), err)
	}
	for raw := range bytes.SplitSeq(names[:n], []byte{0}) {
		name := string(raw)
		if !copied(name) {
			continue
		}
		value := make([]byte, 1<<10)
		n, err := unix.Fgetxattr(int(from.Fd()), name, value)
		if errors.Is(err, unix.ERANGE) {
			value = make([]byte, 64<<10) // XATTR_SIZE_MAX
			n, err = unix.Fgetxattr(int(from.Fd()), name, value)
		}
		if errors.Is(err, unix.ENODATA) {
			continue // removed meanwhile
		}
		if err == nil {
			err = unix.Fsetxattr(int(to.Fd()), name, value[:n], 0)
		}
		if err != nil {
			return fmt.Errorf("copy %s from %s to %s: %w", name, from.Name(), to.Name(), WithCapability(err, needed(name)))
		}
	}
	return nil
}
