package hostfs

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// HostFiles reads the files of a host. Each function takes an absolute path of
// the host, and none leaves its root directory.
type HostFiles struct {
	Read func(string) ([]byte, error)      // of at most maxConfig bytes
	List func(string) ([]string, error)    // sorted
	Kind func(string) (fs.FileMode, error) // the type bits, of a link itself
}

// MaxConfigBytes is more than any kubelet, journald, logrotate or Docker
// configuration has.
const MaxConfigBytes = 1 << 20

// Files returns the functions that read configuration files below r.
func (r Root) Files() HostFiles {
	return HostFiles{Read: r.ReadFile, List: r.List, Kind: r.kind}
}

// kind returns the type bits of p. It follows links in the directories of p,
// below the root, but not p itself.
func (r Root) kind(p string) (fs.FileMode, error) {
	fd, err := openat2(int(r), []byte(p+"\x00"), unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return 0, &fs.PathError{Op: "open", Path: p, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: p, Err: err}
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return fs.ModeDir, nil
	case unix.S_IFLNK:
		return fs.ModeSymlink, nil
	case unix.S_IFREG:
		return 0, nil
	}
	return fs.ModeIrregular, nil
}
