package reclaim

import (
	"bytes"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// inspector looks into files whose place and name give them a class. It keeps
// the directory of the last one open. It opens with O_NOATIME, so that a later
// look still sees when a collector has read.
type inspector struct {
	host      hostfs.Root
	rotations []rotate.Rule
	logrotate func() (func(string) bool, error)

	dir string
	fd  int // of dir; 0: none
	// live has what is known of the log beside an archive, of dir only.
	live map[string]bool
}

func (i *inspector) close() {
	if i.fd > 0 {
		_ = unix.Close(i.fd)
	}
	i.fd, i.dir = 0, ""
}

// open opens the regular file name in dir, which must be st.
func (i *inspector) open(dir, name string, st *unix.Statx_t) (*os.File, bool) {
	if i.dir != dir || i.fd <= 0 {
		i.close()
		fd, err := i.host.OpenDir(dir, unix.O_PATH)
		if err != nil {
			return nil, false
		}
		i.dir, i.fd, i.live = dir, fd, map[string]bool{}
	}
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Openat(i.fd, name, flags|unix.O_NOATIME, 0)
	if err == unix.EPERM { // the file of another owner, without CAP_FOWNER
		fd, err = unix.Openat(i.fd, name, flags, 0)
	}
	if err != nil {
		return nil, false
	}
	f := os.NewFile(uintptr(fd), name)
	var now unix.Statx_t
	if err := hostfs.Statx(fd, hostfs.Self, &now); err != nil || now.Mode&unix.S_IFMT != unix.S_IFREG || st != nil && now.Ino != st.Ino {
		_ = f.Close()
		return nil, false
	}
	return f, true
}

// classes returns the classes of the candidate c, the file name at a place, which has
// one by its place and name. None: what it has in it, its owner or what is beside
// it does not confirm that, and it is left alone.
func (i *inspector) classes(c *Candidate, at place, name string, st *unix.Statx_t) []Class {
	f, ok := i.open(at.dir, name, st)
	if !ok {
		return nil
	}
	defer func() { _ = f.Close() }()
	switch c.Class {
	case ClassBallast:
		if st.Uid != 0 || st.Size > ballastBytes {
			return nil
		}
		return []Class{ClassBallast}
	case ClassJournal:
		if !hasPrefix(f, "LPKSHHRH") { // the signature in a journal's header
			return nil
		}
		return []Class{ClassJournal}
	case ClassCores:
		if !isDump(f, at.kind, name) {
			return nil
		}
		return []Class{ClassCores}
	}
	unread := archive.IsUnread(f)
	class := c.Class
	if class != ClassOtherArchives {
		_, rule := rotate.RuleFor(i.rotations, c.Log)
		switch {
		case archive.IsOwn(f) || rule:
		case class == ClassArchives:
			class = ClassOtherArchives // another program's, or made before archives had a mark
		default:
			return nil
		}
	}
	if class == ClassOtherArchives && !i.isLogArchive(c, at, name, st) {
		return nil
	}
	switch {
	case class == ClassOtherArchives && unread:
		return nil
	case class == ClassOtherArchives:
		return []Class{class}
	case unread:
		return []Class{ClassUnread}
	}
	return []Class{ClassUnread, class}
}

// isLogArchive reports whether an archive that nodetune has not made is one of a
// log: the log is beside it, or a container's directory or logrotate's
// configuration names it. One that is not compressed is its program's to compress,
// unless logrotate's configuration names its log. c.read is set where the archive
// was read after it was last written.
func (i *inspector) isLogArchive(c *Candidate, at place, name string, st *unix.Statx_t) bool {
	if at.container {
		return true
	}
	base := path.Base(c.Log)
	if _, known := i.live[base]; !known {
		i.live[base] = i.isLog(at.dir, base)
	}
	if !i.live[base] {
		return false
	}
	if archive.SuffixLen([]byte(name)) > 0 {
		return true
	}
	managed, err := i.logrotate()
	if err != nil || !managed(c.Log) {
		return false
	}
	c.read = !hostfs.Time(st.Atime).Before(hostfs.Time(st.Mtime))
	return true
}

// isLog reports whether name in dir is a file of lines, or empty.
func (i *inspector) isLog(dir, name string) bool {
	f, ok := i.open(dir, name, nil)
	if !ok {
		return false
	}
	defer func() { _ = f.Close() }()
	b := make([]byte, 4096)
	n, err := f.ReadAt(b, 0)
	return (err == nil || err == io.EOF) && bytes.IndexByte(b[:n], 0) < 0
}

func hasPrefix(f *os.File, magic string) bool {
	b := make([]byte, len(magic))
	n, err := f.ReadAt(b, 0)
	return (err == nil || err == io.EOF) && string(b[:n]) == magic
}

// isDump reports whether f is a dump of a process or of a kernel: an ELF core, in
// the directory of systemd-coredump also a compressed one, makedumpfile(8)'s
// vmcore, or a report of apport.
func isDump(f *os.File, kind logs.Kind, name string) bool {
	b := make([]byte, 16<<10)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return false
	}
	b = b[:n]
	switch {
	case isCoreHeader(b):
		return true
	case kind != logs.KindCore:
		return false
	case strings.HasPrefix(name, "vmcore"):
		return bytes.HasPrefix(b, []byte("KDUMP   ")) || bytes.HasPrefix(b, []byte("makedumpfile"))
	case strings.HasSuffix(name, ".crash"):
		return bytes.HasPrefix(b, []byte("ProblemType: "))
	case !strings.HasPrefix(name, "core."):
		return false
	case strings.HasSuffix(name, ".zst"):
		return isCoreHeader(unzstd(b))
	case strings.HasSuffix(name, ".xz"):
		return bytes.HasPrefix(b, []byte("\xfd7zXZ\x00"))
	case strings.HasSuffix(name, ".lz4"):
		return bytes.HasPrefix(b, []byte("\x04\x22\x4d\x18"))
	}
	return false
}

// unzstd returns the first bytes of a compressed file, of which b is the
// beginning, as far as they come out of that.
func unzstd(b []byte) []byte {
	// Memory for one block; the window of a core dump is 2 to 8 MiB.
	r, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil
	}
	defer r.Close()
	head := make([]byte, 64)
	n, _ := io.ReadFull(r, head)
	return head[:n]
}
