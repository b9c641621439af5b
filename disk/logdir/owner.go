package logdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Other users may change a directory of logs while nodetune acts in it. Each step
// holds what it acts upon by a descriptor, so that they gain nothing by that. But
// they could make it act upon the wrong one of their names, so nodetune refuses a
// directory that a person may write. logrotate without su also refuses one that the
// group of a daemon may write, and takes one of any owner.

const (
	// maxSystemID is SYS_UID_MAX and SYS_GID_MAX of login.defs(5): daemons have no
	// greater id. Ubuntu's /var/log belongs to root:syslog with mode 0775, and
	// Debian's /var/log/mysql to mysql:adm.
	maxSystemID = 999
	// usersGID is the group of all people in Debian, Fedora and SUSE.
	usersGID = 100
)

// checkOwner refuses a directory that a user may write who is neither root nor a
// daemon, nor nodetune's own.
func (d *Dir) checkOwner() error {
	var st unix.Stat_t
	if err := unix.Fstat(d.FD, &st); err != nil {
		return &os.PathError{Op: "stat", Path: d.Path, Err: err}
	}
	d.Dev = st.Dev
	acl := make([]byte, 4<<10)
	n, err := unix.Fgetxattr(d.FD, "system.posix_acl_access", acl)
	switch {
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
		n = 0
	case errors.Is(err, unix.ERANGE):
		return Skipf("%s has an access control list with more than %d bytes", d.Path, len(acl))
	case err != nil:
		return &os.PathError{Op: "read the access control list of", Path: d.Path, Err: err}
	}
	if who := stranger(&st, acl[:n], uint32(os.Geteuid())); who != "" {
		return Skipf("%s can be written by %s (owner %d:%d, mode %04o): give it to root, or rotate its logs as its owner",
			d.Path, who, st.Uid, st.Gid, st.Mode&0o7777)
	}
	return nil
}

// stranger returns who may write a directory and is neither root nor a daemon, nor
// euid; "" where there is none.
func stranger(st *unix.Stat_t, acl []byte, euid uint32) string {
	switch {
	case st.Uid != euid && !isDaemon(st.Uid):
		return fmt.Sprintf("uid %d", st.Uid)
	case st.Mode&0o002 != 0:
		return "others"
	case st.Mode&0o020 == 0: // with an access control list this is its mask
		return ""
	case len(acl) == 0 && !isDaemon(st.Gid):
		return fmt.Sprintf("group %d", st.Gid)
	}
	return aclStranger(acl, st.Gid)
}

func isDaemon(id uint32) bool { return id <= maxSystemID && id != usersGID }

// aclStranger is stranger for the entries of an access control list, acl(5), as
// linux/posix_acl_xattr.h has them. gid is the group of the directory.
func aclStranger(acl []byte, gid uint32) string {
	const (
		header, entry        = 4, 8
		user, groupOf, group = 0x02, 0x04, 0x08
		write                = 2
	)
	if len(acl) == 0 {
		return ""
	}
	for b := acl[min(header, len(acl)):]; len(b) >= entry; b = b[entry:] {
		tag, perm, id := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
		if perm&write == 0 {
			continue
		}
		switch {
		case tag == groupOf && !isDaemon(gid):
			return fmt.Sprintf("group %d", gid)
		case tag == group && !isDaemon(id):
			return fmt.Sprintf("group %d, by its access control list", id)
		case tag == user && (id > maxSystemID):
			return fmt.Sprintf("uid %d, by its access control list", id)
		}
	}
	return ""
}
