package logs

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
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
// logrotate when it is killed. It is noticed only when the archive is needed.
//
// Whether one is whole shows only when all of it is read. Archives do not
// change, so each is read once: a directory remembers the ctime up to which its
// archives are checked, since compression and rename both move it on.
//
// An archive may be made to cost as much as possible. So what a pass reads and
// what it unpacks are bounded together, an inode is read once however many
// names it has, and an archive that takes more than one pass is not read.

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
	// without end: it is 16 times the largest one of the kubelet's that is read
	// (containerLogMaxSize is 10 MiB by default), and takes a second.
	maxUnpacked = 1 << 30
	// maxMembers ends the reading of a file that consists of empty gzip
	// members: a compressor makes one, and a log that is appended to has some.
	maxMembers = 10_000
	// maxWindow is the memory that zstd may take. The default is 2 MiB, and
	// logrotate's zstd -19 needs 8 MiB (RFC 8878 recommends to support 8 MiB).
	maxWindow = 8 << 20
	// maxUnread bounds the queue; what does not fit is found again by the
	// next full pass.
	maxUnread = 10_000
	// maxBroken bounds the broken archives that a tree remembers. With their
	// names and errors they take 1 MiB.
	maxBroken = 2_000

	skipUnchecked = "unchecked_archives" // too large to be read, or being written
)

// unread queues an archive that its directory has not checked.
func (l *listing) unread(name []byte, st *unix.Statx_t) {
	t, ctime := l.tree, nanos(st.Ctime)
	if ctime <= l.dir.checked || ctime > l.settled {
		return
	}
	if len(t.queue) >= maxUnread {
		t.Skipped[skipUnchecked]++
		return
	}
	t.queue = append(t.queue, unread{l.dir, bytes.Clone(name), st.Ino, ctime})
}

// CheckArchives reads queued archives, oldest first, until about budget bytes
// were read or came out of them, or until ctx ends.
func (t *Tree) CheckArchives(ctx context.Context, rootfs hostfs.Root, budget int64) {
	if len(t.queue) == 0 || t.top == nil {
		return
	}
	slices.SortFunc(t.queue, func(a, b unread) int { return cmp.Or(cmp.Compare(a.ctime, b.ctime), bytes.Compare(a.name, b.name)) })
	top, err := rootfs.OpenDir(t.Host, unix.O_PATH)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(top) }()
	room := maxBroken
	t.each(func(d *dir) { room -= len(d.broken) })
	note := func(c unread, allocated uint64, wrong string) {
		switch {
		case wrong == "":
		case room <= 0:
			t.Skipped[skipUnchecked]++
		default:
			room--
			c.dir.broken = append(c.dir.broken, broken{name: string(c.name[:len(c.name)-1]), ino: c.ino, bytes: allocated, err: wrong})
		}
	}
	read := map[hostfs.Inode]string{} // what is wrong with each, "" for nothing
	kept := t.queue[:0]
	for i, c := range t.queue {
		if ctx.Err() != nil {
			kept = append(kept, t.queue[i:]...)
			break
		}
		at := hostfs.Inode{Dev: unix.Mkdev(c.dir.dev.major, c.dir.dev.minor), Ino: c.ino}
		wrong, again := read[at]
		switch {
		case again: // a hard link: its bytes are counted once
			note(c, 0, wrong)
		case budget <= 0:
			kept = append(kept, c)
			continue
		default:
			n, err := t.checkArchive(ctx, top, c)
			if ctx.Err() != nil { // it was not read to its end
				kept = append(kept, c)
				continue
			}
			if err != nil {
				wrong = err.Error()
			}
			budget -= max(n, archiveCost)
			read[at] = wrong
			note(c, t.st.Blocks*512, wrong)
		}
		if len(kept) == 0 { // all that are older were read
			c.dir.checked = c.ctime
		}
	}
	clear(t.queue[len(kept):])
	t.queue = kept
}

// archiveCost is what opening an archive counts for, so that many empty ones
// end a pass too.
const archiveCost = 4096

// checkArchive returns how much was read of an archive and came out of it, and
// what is wrong with it. One that is gone, or that cannot be checked, is not wrong.
func (t *Tree) checkArchive(ctx context.Context, top int, c unread) (int64, error) {
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
	// A program that has it open for writing may not have finished it.
	if idle, err := logdir.Probe(fd); err == nil && idle == logdir.UsedByWriter {
		t.Skipped[skipUnchecked]++
		return 0, nil
	}
	n, err := unpack(ctx, f, f.Name())
	if errors.Is(err, errBudget) {
		t.Skipped[skipUnchecked]++
		return n, nil
	}
	return n, err
}

var (
	// errEmpty is an archive without a byte: what was to be written there is lost.
	errEmpty = errors.New("empty: not even a header was written")
	// errBudget is an archive that takes too much to be read to its end.
	errBudget = errors.New("it takes too much to read to its end")
)

// metered counts what is read through it, and ends with its context.
type metered struct {
	ctx context.Context // of the reading, which this is the whole of
	r   io.Reader
	n   int64
}

func (m *metered) Read(b []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	if m.n >= maxArchive+1 { // the file has grown since its size was read
		return 0, errBudget
	}
	n, err := m.r.Read(b)
	m.n += int64(n)
	return n, err
}

// unpack reads r to its end and returns how much was read and came out of it.
// The end of what may be read or come out is errBudget.
func unpack(ctx context.Context, r io.Reader, name string) (int64, error) {
	in := &metered{ctx: ctx, r: r}
	var n int64
	var err error
	switch path.Ext(name) {
	case ".gz":
		n, err = unpackGzip(in)
	case ".zst":
		n, err = unpackZstd(in)
	default:
		return 0, nil
	}
	return in.n + n, err
}

// unpackGzip reads member by member: an empty one gives nothing that could be
// counted, and a reader of all of them would not return between two.
func unpackGzip(in *metered) (int64, error) {
	buffered := bufio.NewReaderSize(in, 64<<10)
	var z gzip.Reader
	sum := int64(0)
	for members := 0; ; members++ {
		// The reader returns io.EOF for a header that is cut, too.
		switch _, err := buffered.Peek(1); {
		case errors.Is(err, io.EOF) && members == 0:
			return 0, errEmpty
		case errors.Is(err, io.EOF):
			return sum, nil
		case members >= maxMembers:
			return sum, errBudget
		}
		switch err := z.Reset(buffered); {
		case errors.Is(err, errBudget):
			return sum, err
		case err != nil && members == 0:
			return 0, notArchive(err)
		case err != nil:
			return sum, after(sum, err)
		}
		z.Multistream(false)
		n, err := drain(&z, sum)
		if sum = n; err != nil {
			return sum, err
		}
	}
}

func unpackZstd(in *metered) (int64, error) {
	// A frame with a larger window is one that zstd(1) does not unpack either
	// without --memory or --long.
	d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecoderLowmem(true))
	if err != nil {
		return 0, notArchive(err)
	}
	defer d.Close()
	n, err := drain(d, 0)
	switch {
	case err != nil:
		return n, err
	case n == 0:
		return 0, errEmpty
	}
	return n, nil
}

// drain reads out to its end; before came out of the same archive earlier.
func drain(out io.Reader, before int64) (int64, error) {
	n, err := io.Copy(io.Discard, io.LimitReader(out, maxUnpacked-before+1))
	sum := before + n
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, errBudget), sum > maxUnpacked:
		return sum, errBudget
	case err != nil:
		return sum, after(sum, err)
	}
	return sum, nil
}

func after(n int64, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("after %d bytes: %w", n, err)
}

// notArchive is the error of a first header: io.EOF there is its end, not the archive's.
func notArchive(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("not an archive: %w", err)
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
