package config

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// trust says which files may configure nodetune. It obeys its configuration as
// root, so a file that another user can change would give that user a part of
// root's rights.
type trust struct {
	any bool // trust every file: the caller obeys none of it
	uid int  // the user that nodetune runs as, who is trusted beside root
}

func trustOwn() trust { return trust{uid: os.Geteuid()} }

// check returns why f may not configure nodetune, and what to do about it.
func (t trust) check(name string, f *os.File) error {
	if t.any {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &ReadError{&os.PathError{Op: "stat", Path: name, Err: err}}
	}
	name = printable(name)
	if int(st.Uid) != t.uid && st.Uid != 0 {
		return fmt.Errorf("%s: belongs to uid %d, which is neither root nor nodetune's own uid %d, and could configure nodetune: chown root %s", name, st.Uid, t.uid, name)
	}
	if st.Mode&0o022 == 0 {
		return nil
	}
	// The kubelet makes the directory of a ConfigMap with mode 0777, where no other
	// user reaches it, and mounts it read-only. Its files are checked too.
	var fs unix.Statfs_t
	if st.Mode&unix.S_IFMT == unix.S_IFDIR && unix.Fstatfs(int(f.Fd()), &fs) == nil && fs.Flags&unix.ST_RDONLY != 0 {
		return nil
	}
	return fmt.Errorf("%s: its group or others may write it (mode %04o), and could configure nodetune: chmod go-w %s", name, st.Mode&0o7777, name)
}
