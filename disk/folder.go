package disk

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// folder is an open directory of logs. Whatever is done to a file in it is done
// through this descriptor and a plain name, so that nobody who swaps
// directories and links meanwhile leads it elsewhere.
type folder struct {
	fd   int
	path string // for messages
	dev  uint64
}

// openFolder opens the directory dir of the host for acting in it. logPaths are
// the configured log directories: the way to one of them is the administrator's
// and may hold links, the way below it is anybody's and may not.
func openFolder(rootfs hostRoot, logPaths []string, dir string) (*folder, error) {
	for _, top := range logPaths {
		rel, ok := within(dir, top)
		if !ok {
			continue
		}
		t, err := rootfs.openDir(top, unix.O_PATH)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: top, Err: err}
		}
		fd, err := openBeneath(t, []byte(rel+"\x00"), unix.O_RDONLY)
		_ = unix.Close(t)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: dir, Err: lacking(err, "CAP_DAC_READ_SEARCH")}
		}
		d := &folder{fd: fd, path: dir}
		if err := d.own(); err != nil {
			d.close()
			return nil, err
		}
		return d, nil
	}
	return nil, refusef("%s is in none of the log directories (%s): add the directory to disk.logPaths",
		dir, strings.Join(logPaths, ", "))
}

// own refuses a directory in which somebody else could exchange a file under
// our hands, as logrotate does without su.
func (d *folder) own() error {
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: d.path, Err: err}
	}
	d.dev = st.Dev
	if st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && st.Gid != 0 || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return refusef("%s can be written by others (owner %d:%d, mode %04o): give it to root, or rotate its logs as its owner",
			d.path, st.Uid, st.Gid, st.Mode&0o7777)
	}
	return nil
}

func (d *folder) close() { _ = unix.Close(d.fd) }

func (d *folder) wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: path.Join(d.path, name), Err: err}
}

// lacking says which capability err is for want of, if that is what it is.
func lacking(err error, capability string) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("%w: it takes %s", err, capability)
	}
	return err
}

// Refusal is why a file is left alone. It is not a failure: the file is not
// what nodetune acts upon.
type Refusal struct{ Reason string }

func (r *Refusal) Error() string { return r.Reason }

func refusef(format string, args ...any) error { return &Refusal{fmt.Sprintf(format, args...)} }

// file opens the regular file name, which must have no second name and no
// attribute that keeps it from being replaced.
func (d *folder) file(name string, flags int) (*os.File, unix.Statx_t, error) {
	var st unix.Statx_t
	// O_NONBLOCK: a FIFO would wait for its other end, a lease for its holder.
	fd, err := unix.Openat(d.fd, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ELOOP):
		return nil, st, refusef("%s is a symbolic link", path.Join(d.path, name))
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.EISDIR):
		return nil, st, refusef("%s is not a regular file", path.Join(d.path, name))
	case err != nil && flags&unix.O_ACCMODE == unix.O_RDONLY:
		return nil, st, d.wrap("open", name, lacking(err, "CAP_DAC_READ_SEARCH"))
	case err != nil:
		return nil, st, d.wrap("open", name, lacking(err, "CAP_DAC_OVERRIDE"))
	}
	f := os.NewFile(uintptr(fd), name)
	if err = statx(fd, itself, &st); err != nil {
		err = d.wrap("stat", name, err)
	} else {
		err = d.plain(name, &st)
	}
	if err != nil {
		_ = f.Close()
		return nil, st, err
	}
	return f, st, nil
}

// plain refuses what is not a file with one name in this very filesystem.
func (d *folder) plain(name string, st *unix.Statx_t) error {
	at := path.Join(d.path, name)
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return refusef("%s is not a regular file", at)
	case st.Nlink != 1:
		return refusef("%s has %d names (hard links)", at, st.Nlink)
	case unix.Mkdev(st.Dev_major, st.Dev_minor) != d.dev:
		return refusef("%s is a mount point", at)
	case st.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0:
		return refusef("%s is immutable or append-only (chattr +i, +a)", at)
	}
	return nil
}

// is reports whether name is the file f.
func (d *folder) is(name string, f *os.File) (bool, error) {
	var a, b unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &a); err != nil {
		return false, d.wrap("stat", name, err)
	}
	if err := unix.Fstatat(d.fd, name, &b, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, d.wrap("stat", name, err)
	}
	return a.Ino == b.Ino && a.Dev == b.Dev, nil
}

// create makes a new file that only root can read: whoever opened it while its
// owner and mode are still being set would keep it open.
func (d *folder) create(name string) (*os.File, error) {
	return d.openLocked(name, unix.O_EXCL)
}

// openLocked opens or makes a file that only root can read, and locks it.
func (d *folder) openLocked(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(d.fd, name, flags|unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, d.wrap("create", name, lacking(err, "CAP_DAC_OVERRIDE"))
	}
	f := os.NewFile(uintptr(fd), name)
	if err := d.lock(name, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// lock takes the lock of the file name that is being worked on, flock(2): what
// is not locked was left behind by a run that was killed. Whoever else had the
// lock until now may have renamed or removed the file: then f is not ours.
func (d *folder) lock(name string, f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: another nodetune works on it: %w", path.Join(d.path, name), errBusy)
	}
	if err != nil {
		return d.wrap("lock", name, err)
	}
	same, err := d.is(name, f)
	if errors.Is(err, unix.ENOENT) || err == nil && !same {
		return fmt.Errorf("%s: another nodetune has worked on it: %w", path.Join(d.path, name), errBusy)
	}
	return err
}

// alone lets one nodetune at a time rotate the log base, until release. The lock
// is a file that nobody but root can open: a lock of the log itself is for anybody
// who may read it, and would keep it from ever being rotated.
func (d *folder) alone(base string) (release func(), err error) {
	name := "." + base + lockEnding
	f, err := d.openLocked(name, unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return func() {
		_ = d.remove(name) // or the next Settle does
		_ = f.Close()
	}, nil
}

// abandoned removes what a killed run has left under name, of no use to anybody:
// nobody works on it, and nobody has it open.
func (d *folder) abandoned(name string) error {
	f, _, err := d.file(name, unix.O_RDONLY)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := errors.Join(d.lock(name, f), unheld(f)); err != nil {
		return err
	}
	return d.remove(name)
}

// abandonedEmpty is abandoned for a file that was to become a log and, unless
// somebody has found it already, has no line.
func (d *folder) abandonedEmpty(name string) error {
	var st unix.Statx_t
	if err := statx(d.fd, []byte(name+"\x00"), &st); err != nil || st.Size > 0 {
		return d.wrap("stat", name, err)
	}
	return d.abandoned(name)
}

// rename never replaces a file.
func (d *folder) rename(from, to string) error {
	err := unix.Renameat2(d.fd, from, d.fd, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) {
		// FUSE, NFS and others take no flags, rename(2). Between look and rename
		// nobody else makes this name: own has refused such a directory.
		var st unix.Statx_t
		if err = statx(d.fd, []byte(to+"\x00"), &st); err == nil {
			err = unix.EEXIST
		} else if errors.Is(err, unix.ENOENT) {
			err = unix.Renameat(d.fd, from, d.fd, to)
		}
	}
	return d.wrap("rename", from, err)
}

// exchange gives each the other's name, in one step where the filesystem can.
// Elsewhere base is missing for a moment, and a run that is killed in it leaves
// that to the next Settle.
func (d *folder) exchange(archiveName, base string) error {
	err := unix.Renameat2(d.fd, archiveName, d.fd, base, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) {
		part := "." + archiveName + partEnding
		if err := d.rename(archiveName, part); err != nil {
			return err
		}
		if err := d.rename(base, archiveName); err != nil {
			return errors.Join(err, d.rename(part, archiveName))
		}
		return d.rename(part, base)
	}
	return d.wrap("exchange", archiveName, err)
}

// remove removes a name. That it is gone already is what was wanted.
func (d *folder) remove(name string) error {
	err := unix.Unlinkat(d.fd, name, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return d.wrap("remove", name, err)
}

// sync makes names durable: fsync(2) of a file does not cover its directory.
func (d *folder) sync() error { return d.wrap("sync", "", unix.Fsync(d.fd)) }

// names returns what is in d. The descriptor is read from its beginning.
func (d *folder) names() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.wrap("list", "", err)
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
			return nil, d.wrap("list", "", err)
		}
		if n <= 0 {
			return all, nil
		}
		dirents(buf[:n], func(name []byte, _ byte) {
			all = append(all, string(name[:len(name)-1]))
		})
	}
}

// The endings of files that are not finished. A leading dot keeps them out of
// the patterns of collectors; ".tmp" the kubelet would remove.
const (
	partEnding = ".part" // an archive being compressed
	copyEnding = ".copy" // the head of a log being copied away
	lockEnding = ".lock" // empty: the log is being rotated
)

// errBusy says that an archive cannot be touched yet.
var errBusy = errors.New("somebody has it open")

func unheld(f *os.File) error {
	idle, err := Probe(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("probe %s: %w", f.Name(), err)
	}
	if idle != Unheld {
		return fmt.Errorf("%s: %w", f.Name(), errBusy)
	}
	return nil
}

// folder opens the directory name in d.
func (d *folder) folder(name string) (*folder, error) {
	at := path.Join(d.path, name)
	fd, err := openBeneath(d.fd, []byte(name+"\x00"), unix.O_RDONLY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: at, Err: err}
	}
	sub := &folder{fd: fd, path: at}
	if err := sub.own(); err != nil {
		sub.close()
		return nil, err
	}
	return sub, nil
}

// idle returns an error unless name is a link, which is not followed (Docker's
// logs are), or a file that nobody has open.
func (d *folder) idle(name string) error {
	var st unix.Statx_t
	if err := statx(d.fd, []byte(name+"\x00"), &st); err != nil {
		return d.wrap("stat", name, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return nil
	}
	f, _, err := d.file(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unheld(f)
}

// removeDir removes an empty directory.
func (d *folder) removeDir(name string) error {
	return d.wrap("remove", name, unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR))
}
