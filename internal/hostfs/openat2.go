package hostfs

import (
	"errors"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Statx fills st for the NUL-terminated name below dir, or with an empty name
// for dir itself, and never follows a link. The wrapper of x/sys/unix would
// copy the name; a scan calls this once per file, with the name where
// getdents64(2) has put it.
func Statx(dir int, name []byte, st *unix.Statx_t) error {
	const (
		flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_EMPTY_PATH | unix.AT_STATX_DONT_SYNC
		mask  = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	)
	for {
		_, _, errno := unix.Syscall6(unix.SYS_STATX, uintptr(dir), uintptr(unsafe.Pointer(&name[0])),
			flags, mask, uintptr(unsafe.Pointer(st)), 0)
		if errno == 0 {
			return nil
		}
		if errno != unix.EINTR {
			return errno
		}
	}
}

// Self is the empty name of statx.
var Self = []byte{0}

// Dirents calls visit for every name in b, which getdents64(2) has filled. The
// name ends with its NUL and is valid during the call only.
func Dirents(b []byte, visit func(name []byte, kind byte)) {
	const ( // struct linux_dirent64
		reclenAt = 16
		kindAt   = 18
		nameAt   = 19
	)
	for len(b) > nameAt {
		reclen := int(*(*uint16)(unsafe.Pointer(&b[reclenAt])))
		if reclen <= nameAt || reclen > len(b) {
			return // only the kernel writes here
		}
		name := b[nameAt:reclen]
		end := 0
		for end < len(name) && name[end] != 0 {
			end++
		}
		if end == len(name) {
			return
		}
		if s := name[:end]; string(s) != "." && string(s) != ".." {
			visit(name[:end+1], b[kindAt])
		}
		b = b[reclen:]
	}
}

// OpenDirectory are the flags that open a directory and no link to one.
const OpenDirectory = unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NOFOLLOW

// OpenDir opens dir, a path of the host, below r.
// Links on the way are the host's own (/var/log may lie on a larger disk) and
// are followed as the host would follow them; links of procfs are not.
func (r Root) OpenDir(dir string, flags int) (int, error) {
	dir = strings.TrimPrefix(dir, "/")
	if dir == "" {
		dir = "."
	}
	fd, err := openat2(int(r), append([]byte(dir), 0), unix.OpenHow{
		Flags:   uint64(flags) | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if noOpenat2(err) {
		return openEach(int(r), dir, flags, false)
	}
	return fd, err
}

// OpenBeneath opens a directory below dir, and refuses what a hostile directory
// may offer: links, mount points, a way out. path ends with its NUL.
func OpenBeneath(dir int, path []byte, flags int) (int, error) {
	if len(path) == 1 {
		path = here
	}
	fd, err := openat2(dir, path, unix.OpenHow{
		Flags:   uint64(flags) | OpenDirectory,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if noOpenat2(err) {
		return openEach(dir, unix.ByteSliceToString(path), flags, false)
	}
	return fd, err
}

// OpenAcrossMounts is OpenBeneath for a directory that may lie on a mount below
// dir, which only the administrator of the host can make.
func OpenAcrossMounts(dir int, path []byte, flags int) (int, error) {
	if len(path) == 1 {
		path = here
	}
	fd, err := openat2(dir, path, unix.OpenHow{
		Flags:   uint64(flags) | OpenDirectory,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
	if noOpenat2(err) {
		return openEach(dir, unix.ByteSliceToString(path), flags, true)
	}
	return fd, err
}

var here = []byte(".\x00")

// noOpenat2: Linux before 5.6, or a seccomp profile that does not know the call.
func noOpenat2(err error) bool { return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) }

func openat2(dir int, path []byte, how unix.OpenHow) (int, error) {
	for tries := 0; ; tries++ {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(&path[0])),
			uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		if errno == 0 {
			return int(fd), nil
		}
		// EAGAIN: a rename or mount raced with the lookup, openat2(2). A
		// program that keeps renaming must not delay this one for ever.
		if errno != unix.EINTR && (errno != unix.EAGAIN || tries > 16) {
			return -1, errno
		}
	}
}

// openEach opens rel one component at a time: a single name with O_NOFOLLOW
// cannot leave its directory, and a mount shows in st_dev.
func openEach(dir int, rel string, flags int, mounts bool) (int, error) {
	var st unix.Statx_t
	if err := Statx(dir, Self, &st); err != nil {
		return -1, err
	}
	major, minor := st.Dev_major, st.Dev_minor
	at, last := dir, strings.Count(rel, "/")
	for part := range strings.SplitSeq(rel, "/") {
		how := unix.O_PATH
		if last == 0 {
			how = flags
		}
		last--
		if part == ".." {
			return -1, unix.EXDEV
		}
		fd, err := unix.Openat(at, part, how|OpenDirectory, 0)
		if at != dir {
			_ = unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = fd
		if err := Statx(fd, Self, &st); err != nil || !mounts && (st.Dev_major != major || st.Dev_minor != minor) {
			_ = unix.Close(fd)
			return -1, unix.EXDEV
		}
	}
	return at, nil
}

// Inode names a file by what fstat(2) says, whatever it is called in whichever
// mount namespace.
type Inode struct{ Dev, Ino uint64 }

// Time returns a time of statx(2) as a time.Time.
func Time(t unix.StatxTimestamp) time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

// Born returns when the file began; filesystems without a birth time
// give the time of its last change.
func Born(st *unix.Statx_t) unix.StatxTimestamp {
	if st.Mask&unix.STATX_BTIME == 0 {
		return st.Ctime
	}
	return st.Btime
}
