package sysctld

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// tree is a root directory in which links resolve as they would after a chroot.
type tree struct {
	dir     *os.File
	resolve uint64
}

func openTree(root string) (*tree, error) {
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the root of the sysctl.d directories: %w", err)
	}
	t := &tree{dir: dir}
	if root != "/" {
		t.resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS
	}
	return t, nil
}

func (t *tree) close() { _ = t.dir.Close() }

func (t *tree) openat(name string, flags int) (*os.File, error) {
	fd := -1
	var err error
	for range 16 { // RESOLVE_IN_ROOT answers EAGAIN when the tree is renamed under it
		if t.resolve == 0 {
			fd, err = unix.Openat(unix.AT_FDCWD, name, flags|unix.O_CLOEXEC, 0)
		} else {
			fd, err = unix.Openat2(int(t.dir.Fd()), name, &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: t.resolve})
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.ENOSYS) {
		err = fmt.Errorf("%w: a --path.rootfs other than / needs openat2 of Linux 5.6", err)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

var errNull = errors.New("is /dev/null")

// openRegular opens the regular file name. What is no regular file is never
// opened for reading: a FIFO would block, a device may act. It returns errNull
// for /dev/null, which masks a file, and for a link to it in a tree that has no
// /dev.
func (t *tree) openRegular(name string) (*os.File, error) {
	p, err := t.openat(name, unix.O_PATH)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && t.linksTo(name, "/dev/null") {
			return nil, errNull
		}
		return nil, err
	}
	var st unix.Stat_t
	err = unix.Fstat(int(p.Fd()), &st)
	_ = p.Close()
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	if problem := notRegular(&st); problem != nil {
		return nil, problem
	}
	f, err := t.openat(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, err
	}
	if err := unix.Fstat(int(f.Fd()), &st); err == nil {
		err = notRegular(&st)
		if err == nil {
			return f, nil
		}
	}
	_ = f.Close()
	return nil, fmt.Errorf("%s changed while it was opened: run again", name)
}

func notRegular(st *unix.Stat_t) error {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return nil
	case unix.S_IFDIR:
		return errors.New("is a directory, not a file")
	case unix.S_IFIFO:
		return errors.New("is a FIFO: systemd-sysctl and sysctl --system would wait on it forever; remove it")
	case unix.S_IFCHR:
		if st.Rdev == unix.Mkdev(1, 3) {
			return errNull
		}
		return errors.New("is a character device, not a file")
	}
	return errors.New("is a socket or a device, not a file")
}

func (t *tree) linksTo(name, target string) bool {
	p, err := t.openat(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	defer func() { _ = p.Close() }()
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(p.Fd()), "", buf)
	return err == nil && string(buf[:n]) == target
}

// dirID distinguishes two names of one directory from two directories: with a
// merged /usr, /lib/sysctl.d is /usr/lib/sysctl.d.
type dirID struct{ dev, ino uint64 }

// confNames returns the names of directory dir that end in .conf, sorted.
func (t *tree) confNames(dir string) ([]string, dirID, error) {
	f, err := t.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if err != nil {
		return nil, dirID{}, err
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, dirID{}, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, dirID{}, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !isConf(n) })
	slices.Sort(names)
	return names, dirID{st.Dev, st.Ino}, nil
}

func isConf(name string) bool {
	return len(name) >= len(".conf") && name[len(name)-len(".conf"):] == ".conf"
}
