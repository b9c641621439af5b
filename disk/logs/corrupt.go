package logs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// An archive that ends too early is what the kubelet leaves behind when the
// disk fills while it compresses (it ignores the error of Close, v1.34), and
// logrotate when it is killed. Nobody notices before somebody needs it.
//
// Whether one is whole shows only when all of it is read. Archives do not
// change, so each is read once: a directory remembers the ctime up to which its
// archives are checked, since compression and rename both move it on.

// unread is an archive that was not read yet.
type unread struct {
	dir   *dir
	name  []byte // with its NUL
	ino   uint64
	ctime int64
}

// broken is an archive that cannot be read to its end.
type broken struct {
	name  string
	ino   uint64
	bytes uint64
	err   string
}

const (
	// maxArchive is the largest archive that is read: 64 MiB hold some 400 MB of
	// text and take a second, once.
	maxArchive = 64 << 20
	// maxUnpacked ends the reading of an archive that was made to expand
	// without end.
	maxUnpacked = 4 << 30
	// maxUnread bounds the queue; what does not fit is found again by the
	// next full pass.
	maxUnread = 10_000

	skipUnchecked = "unchecked_archives" // too large to be read, or being written
)

// unread queues an archive that its directory has not checked.
func (l *listing) unread(name []byte, st *unix.Statx_t) {
	t, ctime := l.tree, nanos(st.Ctime)
	if ctime <= l.dir.checked || ctime > l.settled || len(t.queue) >= maxUnread {
		return
	}
	t.queue = append(t.queue, unread{l.dir, bytes.Clone(name), st.Ino, ctime})
}

// CheckArchives reads queued archives, oldest first, until about budget bytes
// came out of them.
func (t *Tree) CheckArchives(rootfs hostfs.Root, budget int64) {
	if len(t.queue) == 0 || t.top == nil {
		return
	}
	slices.SortFunc(t.queue, func(a, b unread) int { return cmp.Or(cmp.Compare(a.ctime, b.ctime), bytes.Compare(a.name, b.name)) })
	top, err := rootfs.OpenDir(t.Host, unix.O_PATH)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(top) }()
	done := 0
	for _, c := range t.queue {
		if budget <= 0 {
			break
		}
		n, err := t.checkArchive(top, c)
		budget -= n
		c.dir.checked = c.ctime
		if err != nil {
			c.dir.broken = append(c.dir.broken, broken{
				name: string(c.name[:len(c.name)-1]), ino: c.ino, bytes: t.st.Blocks * 512, err: err.Error(),
			})
		}
		done++
	}
	t.queue = slices.Delete(t.queue, 0, done)
}

// checkArchive returns how much came out of an archive, and what is wrong with
// it. One that is gone, or that cannot be judged, is not wrong.
func (t *Tree) checkArchive(top int, c unread) (int64, error) {
	dir, err := hostfs.OpenBeneath(top, append([]byte(c.dir.rel), 0), unix.O_PATH)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := unix.Openat(dir, string(c.name[:len(c.name)-1]), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, nil
	}
	f := os.NewFile(uintptr(fd), string(c.name[:len(c.name)-1]))
	defer func() { _ = f.Close() }()
	if err := hostfs.Statx(fd, hostfs.Self, &t.st); err != nil || t.st.Ino != c.ino || t.st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, nil
	}
	if t.st.Size > maxArchive {
		t.Skipped[skipUnchecked]++
		return 0, nil
	}
	// Somebody who still writes is not done with it.
	if idle, err := logdir.Probe(fd); err == nil && idle == logdir.UsedByWriter {
		t.Skipped[skipUnchecked]++
		return 0, nil
	}
	return unpack(f, f.Name())
}

// errEmpty is an archive without a byte: what was to be written there is lost.
var errEmpty = errors.New("empty: not even a header was written")

// unpack reads r to its end and returns how much came out of it. The end of
// what may come out is not an error of the archive.
func unpack(r io.Reader, name string) (int64, error) {
	var out io.Reader
	var err error
	switch path.Ext(name) {
	case ".gz":
		out, err = gzip.NewReader(r)
	case ".zst":
		// logrotate's zstd -19 needs a window of 8 MiB.
		var d *zstd.Decoder
		d, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20), zstd.WithDecoderLowmem(true))
		if err == nil {
			defer d.Close()
		}
		out = d
	default:
		return 0, nil
	}
	if errors.Is(err, io.EOF) {
		return 0, errEmpty
	}
	if err != nil {
		return 0, fmt.Errorf("not an archive: %w", err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(out, maxUnpacked))
	if err != nil {
		return n, fmt.Errorf("after %d bytes: %w", n, err)
	}
	if path.Ext(name) == ".zst" && n == 0 {
		return 0, errEmpty
	}
	return n, nil
}

// checkable reports whether the archive is of a kind that unpack reads.
func checkable(name []byte) bool {
	return bytes.HasSuffix(name, []byte(".gz")) || bytes.HasSuffix(name, []byte(".zst"))
}

// CorruptArchives returns the archives of t that cannot be read to their end.
func (t *Tree) CorruptArchives() []Corrupt {
	var all []Corrupt
	t.each(func(d *dir) {
		for _, b := range d.broken {
			all = append(all, Corrupt{Path: path.Join(d.path, b.name), Log: d.owner.Workload, Bytes: b.bytes, Error: b.err})
		}
	})
	return all
}
