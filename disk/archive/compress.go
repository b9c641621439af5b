package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
)

// Compression is how an archive is stored.
type Compression string

// The compressions. Container logs take gzip only, which is what the kubelet
// reads. On one core, 134 MB of log text: gzip at 279 MB/s to a 5th (the
// kubelet's: 63 MB/s to a 6th), zstd at 330 MB/s to a 5.6th.
const (
	None Compression = "none"
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// Suffix returns what the compression adds to the name of an archive.
func (c Compression) Suffix() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	}
	return ""
}

// Compress replaces the archive name by its compressed form. The archive is
// removed only when the compressed form is complete and on the disk under its name,
// and no process has the archive open. A crash before that leaves the archive.
func Compress(ctx context.Context, d *logdir.Dir, name string, c Compression) (err error) {
	src, st, err := d.OpenFile(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	if err := logdir.CheckUnused(src); err != nil {
		return err
	}
	// What it becomes is not known: a fifth, or as much as it is.
	if err := CheckRoom(src, min(st.Size, st.Blocks*512, RoomStep)); err != nil {
		return err
	}
	part := "." + name + c.Suffix() + logdir.PartSuffix
	if err := d.RemoveStale(part); err != nil {
		return err
	}
	dst, err := d.Create(part)
	if err != nil {
		return err
	}
	defer func() {
		_ = dst.Close()
		if err != nil {
			_ = d.Remove(part)
		}
	}()
	sum := crc32.NewIEEE()
	var n int64
	err = idleIO(func() error {
		n, err = encode(ctx, &roomyFile{File: dst}, io.TeeReader(src, sum), c)
		return err
	})
	if err == nil {
		err = logdir.CopyAttributes(dst, src)
	}
	if err == nil {
		err = logdir.CopyTimes(dst, src)
	}
	if err == nil {
		err = d.PathError("sync", part, dst.Sync())
	}
	if err == nil {
		err = verify(dst, c, n, sum.Sum32())
	}
	if err == nil && n != int64(st.Size) {
		err = fmt.Errorf("%s: %d bytes when it was opened, %d read: %w", name, st.Size, n, logdir.ErrInUse)
	}
	if err == nil {
		err = logdir.CheckUnused(src)
	}
	if err == nil {
		err = dst.Close() // NFS and quotas report here what write(2) did not
	}
	if err != nil {
		return fmt.Errorf("compress %s: %w", name, err)
	}
	if err := d.Rename(part, name+c.Suffix()); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	return RemoveCompressed(d, name, src, n)
}

// RemoveCompressed removes the archive name once its compressed form is durable, if it is
// still the file that was compressed and no process has opened it since.
func RemoveCompressed(d *logdir.Dir, name string, src *os.File, n int64) error {
	if err := logdir.CheckUnused(src); err != nil {
		return err
	}
	same, err := d.IsFile(name, src)
	if err != nil {
		return err
	}
	if st, err := src.Stat(); err != nil || !same || st.Size() != n {
		return errors.Join(err, fmt.Errorf("remove %s: it has changed since it was compressed: %w", name, logdir.ErrInUse))
	}
	// A crash may bring the name back: then there are both, which the next pass resolves.
	return d.Remove(name)
}

// encode writes src compressed to dst and returns the bytes read.
func encode(ctx context.Context, dst io.Writer, src io.Reader, c Compression) (int64, error) {
	w, done, err := encoder(dst, c)
	if err != nil {
		return 0, err
	}
	defer done()
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, &Interruptible{Ctx: ctx, Reader: src}, *buf)
	// The end of the stream, and often all of it, is written here: an error of
	// Close not looked at is an archive cut short.
	return n, errors.Join(err, w.Close())
}

// A writer of gzip has 0.8 MB of tables, which cost more than a small log: it is used
// again for the next.
var (
	gzipWriters = sync.Pool{New: func() any {
		w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // fails only for a level that does not exist
		return w
	}}
	copyBuffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}
)

// encoder returns what compresses to dst, and what to call after it is closed.
func encoder(dst io.Writer, c Compression) (io.WriteCloser, func(), error) {
	switch c {
	case Gzip:
		w := gzipWriters.Get().(*gzip.Writer)
		w.Reset(dst)
		return w, func() {
			w.Reset(nil) // dst is not kept
			gzipWriters.Put(w)
		}, nil
	case Zstd:
		w, err := zstd.NewWriter(dst, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		return w, func() {}, err
	}
	return nil, nil, fmt.Errorf("%q is not a way to compress", c)
}

// verify reads back from f what encode must have written for n bytes with the
// checksum sum: gzip's trailer, or all of a zstd stream, which decodes at the
// speed of memory and whose end is marked by its checksum.
func verify(f *os.File, c Compression, n int64, sum uint32) error {
	switch c {
	case Gzip:
		st, err := f.Stat()
		if err != nil {
			return fmt.Errorf("verify %s: %w", f.Name(), err)
		}
		var t [8]byte // RFC 1952, 2.3.1: CRC32 and ISIZE, little-endian
		if _, err := f.ReadAt(t[:], max(st.Size()-8, 0)); err != nil {
			return fmt.Errorf("verify %s: read its trailer: %w", f.Name(), err)
		}
		if binary.LittleEndian.Uint32(t[:]) != sum || binary.LittleEndian.Uint32(t[4:]) != uint32(n) {
			return fmt.Errorf("verify %s: its trailer is not that of the %d bytes read", f.Name(), n)
		}
		return nil
	case Zstd:
		got, gotSum, err := Decode(f, c)
		if err == nil && (got != n || gotSum != sum) {
			err = fmt.Errorf("%d bytes come out of it, not the %d that went in", got, n)
		}
		if err != nil {
			return fmt.Errorf("verify %s: %w", f.Name(), err)
		}
	}
	return nil
}

// ContentSize returns how many bytes the archive name holds: for gzip what its
// trailer has of them, modulo 4 GiB (RFC 1952, 2.3.1). Where that cannot be read it is
// the size of the file.
func ContentSize(d *logdir.Dir, name string, c Compression) uint64 {
	f, st, err := d.OpenFile(name, unix.O_RDONLY)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	var size [4]byte
	if c == Gzip && st.Size >= 18 {
		if _, err := f.ReadAt(size[:], int64(st.Size)-4); err == nil {
			return uint64(binary.LittleEndian.Uint32(size[:]))
		}
	}
	return st.Size
}

// Decode reads all of f and returns length and CRC32 of what is in it.
func Decode(f io.ReaderAt, c Compression) (n int64, sum uint32, err error) {
	r, done, err := Decoder(f, c)
	if err != nil {
		return 0, 0, err
	}
	defer done()
	h := crc32.NewIEEE()
	n, err = io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return n, h.Sum32(), err
}

// Decoder returns what is in f, from its beginning, and what to call after it.
func Decoder(f io.ReaderAt, c Compression) (io.Reader, func(), error) {
	src := io.NewSectionReader(f, 0, 1<<62)
	switch c {
	case Gzip:
		z, err := gzip.NewReader(src)
		return z, func() {}, err
	case Zstd:
		z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return src, func() {}, nil
}

// SameContent reports whether the first n bytes of a and b are equal.
func SameContent(a, b *os.File, n int64) (bool, error) {
	x, y := make([]byte, 256<<10), make([]byte, 256<<10)
	for at := int64(0); at < n; {
		size := min(n-at, int64(len(x)))
		if _, err := a.ReadAt(x[:size], at); err != nil {
			return false, err
		}
		if _, err := b.ReadAt(y[:size], at); err != nil {
			return false, err
		}
		if !bytes.Equal(x[:size], y[:size]) {
			return false, nil
		}
		at += size
	}
	return true, nil
}

// Interruptible ends with the context.
type Interruptible struct {
	Ctx context.Context
	io.Reader
}

func (r *Interruptible) Read(b []byte) (int, error) {
	if err := r.Ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

// idleIO runs do with the I/O class idle, ioprio_set(2): processes that
// write logs come first. The class is of the thread. Schedulers that know no classes (none,
// mq-deadline before 5.14) ignore it.
func idleIO(do func() error) error {
	const (
		who   = 1       // IOPRIO_WHO_PROCESS
		idle  = 3 << 13 // IOPRIO_CLASS_IDLE
		usual = 0       // IOPRIO_CLASS_NONE
	)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, who, 0, idle); errno == 0 {
		defer func() { _, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, who, 0, usual) }()
	}
	return do()
}
