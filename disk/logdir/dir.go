package logdir

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// Dir is an open directory of logs. Whatever is done to a file in it is done
// through this descriptor and a plain name, so that a program
// that swaps directories and links meanwhile cannot lead it elsewhere.
type Dir struct {
	FD   int
	Path string // for messages
	Dev  uint64
}

// OpenDir opens the directory dir of the host for acting in it. logPaths are
// the configured log directories. The administrator makes the path to one of them,
// which may have links. Other users may change the directories below it, so those
// may have none. Of several log directories above dir the nearest counts. A mount below a log directory is the
// administrator's, and a log directory too.
func OpenDir(rootfs hostfs.Root, logPaths []string, dir string) (*Dir, error) {
	top, rel, found := "", "", false
	for _, p := range logPaths {
		if r, ok := hostfs.Below(dir, p); ok && (!found || len(p) > len(top)) {
			top, rel, found = p, r, true
		}
	}
	if !found {
		return nil, Skipf("%s is in none of the log directories (%s): add the directory to disk.logPaths",
			dir, strings.Join(logPaths, ", "))
	}
	t, err := rootfs.OpenDir(top, unix.O_PATH)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: top, Err: err}
	}
	fd, err := hostfs.OpenAcrossMounts(t, []byte(rel+"\x00"), unix.O_RDONLY)
	_ = unix.Close(t)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: WithCapability(err, "CAP_DAC_READ_SEARCH")}
	}
	d := &Dir{FD: fd, Path: dir}
	if err := d.checkOwner(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Close closes the directory.
func (d *Dir) Close() { _ = unix.Close(d.FD) }

// PathError returns err as the failure of op upon name in d, or nil for no error.
func (d *Dir) PathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path.Join(d.Path, name), Err: err}
}

// WithCapability says which capability err is for want of, if that is what it is.
func WithCapability(err error, capability string) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: it takes %s", err, capability)
	}
	return err
}

// SkippedError is why a file is left alone. It is not a failure: the file is not
// what nodetune acts upon.
type SkippedError struct{ Reason string }

func (r *SkippedError) Error() string { return r.Reason }

// Skipf returns a SkippedError with that reason.
func Skipf(format string, args ...any) error { return &SkippedError{fmt.Sprintf(format, args...)} }

// OpenFile opens the regular file name, which must have no second name and no
// attribute that keeps it from being replaced.
func (d *Dir) OpenFile(name string, flags int) (*os.File, unix.Statx_t, error) {
	var st unix.Statx_t
	// O_NONBLOCK: a FIFO would wait for its other end, a lease for its holder.
	fd, err := unix.Openat(d.FD, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, st, Skipf("%s is a symbolic link", path.Join(d.Path, name))
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.EISDIR):
		return nil, st, Skipf("%s is not a regular file", path.Join(d.Path, name))
	case err != nil && flags&unix.O_ACCMODE == unix.O_RDONLY:
		return nil, st, d.PathError("open", name, WithCapability(err, "CAP_DAC_READ_SEARCH"))
	case err != nil:
		return nil, st, d.PathError("open", name, WithCapability(err, "CAP_DAC_OVERRIDE"))
	}
	f := os.NewFile(uintptr(fd), name)
	if err = hostfs.Statx(fd, hostfs.Self, &st); err != nil {
		err = d.PathError("stat", name, err)
	} else {
		err = d.checkRegular(name, &st)
	}
	if err != nil {
		_ = f.Close()
		return nil, st, err
	}
	return f, st, nil
}

// checkRegular refuses what is not a file with one name in this very filesystem.
func (d *Dir) checkRegular(name string, st *unix.Statx_t) error {
	at := path.Join(d.Path, name)
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return Skipf("%s is not a regular file", at)
	case st.Nlink != 1:
		return Skipf("%s has %d names (hard links)", at, st.Nlink)
	case unix.Mkdev(st.Dev_major, st.Dev_minor) != d.Dev:
		return Skipf("%s is a mount point", at)
	case st.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0:
		return Skipf("%s is immutable or append-only (chattr +i, +a)", at)
	}
	return nil
}

// IsFile reports whether name is the file f.
func (d *Dir) IsFile(name string, f *os.File) (bool, error) {
	var a, b unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &a); err != nil {
		return false, d.PathError("stat", name, err)
	}
	if err := unix.Fstatat(d.FD, name, &b, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, d.PathError("stat", name, err)
	}
	return a.Ino == b.Ino && a.Dev == b.Dev, nil
}

// Create makes a new file that only root can read: a process that opened it while
// its owner and mode are still being set would keep it open.
func (d *Dir) Create(name string) (*os.File, error) {
	return d.openLocked(name, unix.O_EXCL)
}

// openLocked opens or makes a file that only root can read, and locks it.
func (d *Dir) openLocked(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(d.FD, name, flags|unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, d.PathError("create", name, WithCapability(err, "CAP_DAC_OVERRIDE"))
	}
	f := os.NewFile(uintptr(fd), name)
	if err := d.Lock(name, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Lock takes the lock of the file name that is being worked on, flock(2): what
// is not locked was left behind by a run that was killed. The process that had
// the lock until now may have renamed or removed the file: then f is not ours.
func (d *Dir) Lock(name string, f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: another nodetune works on it: %w", path.Join(d.Path, name), ErrInUse)
	}
	if err != nil {
		return d.PathError("lock", name, err)
	}
	same, err := d.IsFile(name, f)
	if errors.Is(err, unix.ENOENT) || err == nil && !same {
		return fmt.Errorf("%s: another nodetune has worked on it: %w", path.Join(d.Path, name), ErrInUse)
	}
	return err
}

// LockLog lets one nodetune at a time rotate the log base, until release. The lock
// is a file that only root can open: any reader of the log could lock the log
// itself, and would keep it from ever being rotated.
func (d *Dir) LockLog(base string) (release func(), err error) {
	name := "." + base + LockSuffix
	f, err := d.openLocked(name, unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return func() {
		_ = d.Remove(name) // or the next Settle does
		_ = f.Close()
	}, nil
}

// RemoveStale removes what a killed run has left under name, which is of no
// use: no run works on it, and no process has it open.
func (d *Dir) RemoveStale(name string) error {
	f, _, err := d.OpenFile(name, unix.O_RDONLY)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := errors.Join(d.Lock(name, f), CheckUnused(f)); err != nil {
		return err
	}
	return d.Remove(name)
}

// RemoveStaleEmpty is RemoveStale for a file that was to become a log and, unless
// a writer has found it already, has no line.
func (d *Dir) RemoveStaleEmpty(name string) error {
	var st unix.Statx_t
	if err := hostfs.Statx(d.FD, []byte(name+"\x00"), &st); err != nil || st.Size > 0 {
		return d.PathError("stat", name, err)
	}
	return d.RemoveStale(name)
}

// Rename never replaces a file.
func (d *Dir) Rename(from, to string) error {
	err := unix.Renameat2(d.FD, from, d.FD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
		// FUSE, NFS and others take no flags, rename(2). Between check and
		// rename only root and a daemon can make this name: checkOwner has refused other directories.
		var st unix.Statx_t
		if err = hostfs.Statx(d.FD, []byte(to+"\x00"), &st); err == nil {
			err = unix.EEXIST
		} else if errors.Is(err, unix.ENOENT) {
			err = unix.Renameat(d.FD, from, d.FD, to)
		}
	}
	return d.PathError("rename", from, err)
}

// Exchange gives each the other's name, in one step where the filesystem can.
// Elsewhere base is missing for a moment, and a run that is killed in it leaves
// that to the next Settle.
func (d *Dir) Exchange(archiveName, base string) error {
	err := unix.Renameat2(d.FD, archiveName, d.FD, base, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) {
		part := "." + archiveName + PartSuffix
		if err := d.Rename(archiveName, part); err != nil {
			return err
		}
		if err := d.Rename(base, archiveName); err != nil {
			return errors.Join(err, d.Rename(part, archiveName))
		}
		return d.Rename(part, base)
	}
	return d.PathError("exchange", archiveName, err)
}

// Remove removes a name. That it is gone already is what was wanted.
func (d *Dir) Remove(name string) error {
	err := unix.Unlinkat(d.FD, name, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return d.PathError("remove", name, err)
}

// Sync makes names durable: fsync(2) of a file does not cover its directory.
func (d *Dir) Sync() error { return d.PathError("sync", "", unix.Fsync(d.FD)) }

// Names returns what is in d. The descriptor is read from its beginning.
func (d *Dir) Names() ([]string, error) {
	fd, err := unix.Openat(d.FD, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.PathError("list", "", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var all []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, d.PathError("list", "", err)
		}
		if n <= 0 {
			return all, nil
		}
		hostfs.Dirents(buf[:n], func(name []byte, _ byte) {
			all = append(all, string(name[:len(name)-1]))
		})
	}
}

// The endings of files that are not finished. A leading dot keeps them out of
// the patterns of collectors; ".tmp" the kubelet would remove.
const (
	PartSuffix = ".part" // an archive being compressed
	CopySuffix = ".copy" // the head of a log being copied away
	LockSuffix = ".lock" // empty: the log is being rotated
)

// ErrInUse means that an archive cannot be changed yet.
var ErrInUse = errors.New("another process has it open")

// CheckUnused returns an error that wraps ErrInUse if another process has f open.
func CheckUnused(f *os.File) error {
	idle, err := Probe(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("probe %s: %w", f.Name(), err)
	}
	if idle != Unused {
		return fmt.Errorf("%s: %w", f.Name(), ErrInUse)
	}
	return nil
}

// OpenSubdir opens the directory name in d.
func (d *Dir) OpenSubdir(name string) (*Dir, error) {
	at := path.Join(d.Path, name)
	fd, err := hostfs.OpenBeneath(d.FD, []byte(name+"\x00"), unix.O_RDONLY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: at, Err: err}
	}
	sub := &Dir{FD: fd, Path: at}
	if err := sub.checkOwner(); err != nil {
		sub.Close()
		return nil, err
	}
	return sub, nil
}

// CheckNotOpen returns an error unless name is a link, which is not followed (Docker's
// logs are), or a file that no process has open.
func (d *Dir) CheckNotOpen(name string) error {
	var st unix.Statx_t
	if err := hostfs.Statx(d.FD, []byte(name+"\x00"), &st); err != nil {
		return d.PathError("stat", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	f, _, err := d.OpenFile(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return CheckUnused(f)
}

// RemoveDir removes an empty directory.
func (d *Dir) RemoveDir(name string) error {
	return d.PathError("remove", name, unix.Unlinkat(d.FD, name, unix.AT_REMOVEDIR))
}
