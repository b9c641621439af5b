package hostfs

import (
	"path"

	"golang.org/x/sys/unix"
)

// IsFile reports whether the path p is the file at. Below the directory top no link
// is followed and no mount is crossed.
func (r Root) IsFile(top, p string, at Inode) bool {
	rel, ok := Below(p, top)
	if !ok || rel == "" {
		return false
	}
	dir, err := r.OpenDir(top, unix.O_PATH)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := OpenBeneath(dir, []byte(path.Dir(rel)+"\x00"), unix.O_PATH)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Statx_t
	if err := Statx(fd, []byte(path.Base(rel)+"\x00"), &st); err != nil {
		return false
	}
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Ino == at.Ino && unix.Mkdev(st.Dev_major, st.Dev_minor) == at.Dev
}
