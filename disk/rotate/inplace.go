package rotate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// rotateInPlace moves the lines of a log whose writer cannot reopen it into archive,
// and leaves the writer its file.
//
// Where the filesystem can (ext4, xfs), the head that has been copied, and is on
// the disk, is cut off with FALLOC_FL_COLLAPSE_RANGE: in one step, and what is
// written meanwhile stays. The length is a multiple of the block size and must
// end before the end of the file, so the archive ends, and the log begins, in
// the middle of a line; one after the other they are whole. Elsewhere the copy
// chases the writer to the end and the log is truncated then: what is written
// between the last look and the truncation is lost, one to seven lines at a
// million lines per second. Which it is shows when it is tried: an overlay can
// what its upper filesystem can, and ext4 not with the layout of ext3.
//
// A reader takes the shorter log for a truncated one and reads it from its beginning.
// So what a reader has not read stays in the log, see cutAtReader and atReader.
func (r *Rotator) rotateInPlace(ctx context.Context, l *openLog, now time.Time) (string, error) {
	d, base := l.dir, l.base
	for _, o := range l.openers {
		if o.Writes && !o.Appends {
			return "", logdir.Skipf("%s is written by %s[%d] without O_APPEND: the writer would continue at its old offset, behind a hole",
				path.Join(d.Path, base), o.Comm, o.PID)
		}
	}
	live, _, err := d.OpenFile(base, unix.O_RDWR)
	if err != nil {
		return "", err
	}
	defer func() { _ = live.Close() }()
	// Two that cut off what each has copied would cut off more than that.
	archiveName, release, err := lockAndName(d, live, base, now)
	if err != nil {
		return "", err
	}
	defer release()
	st, err := live.Stat() // not before: another nodetune may have cut off what was there
	if err != nil {
		return "", d.PathError("stat", base, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(live.Fd()), &fs); err != nil {
		return "", d.PathError("statfs", base, err)
	}
	block := max(fs.Bsize, 1)
	head := (st.Size() - 1) / block * block
	if head <= 0 {
		return "", logdir.Skipf("%s has %d bytes: less than a block is not worth a copy", path.Join(d.Path, base), st.Size())
	}
	var allocated unix.Stat_t // a hole is not copied
	if err := unix.Fstat(int(live.Fd()), &allocated); err != nil {
		return "", d.PathError("stat", base, err)
	}
	if err := archive.CheckRoom(live, uint64(min(head, allocated.Blocks*512))); err != nil {
		return "", fmt.Errorf("%s stays as it is: %w", path.Join(d.Path, base), err)
	}
	part := "." + archiveName + logdir.CopySuffix
	dst, err := d.Create(part)
	if err != nil {
		return "", err
	}
	defer func() { _ = dst.Close() }()
	began := time.Now()
	if err = copyHead(ctx, d, dst, live, head); err == nil && time.Since(began) > maxWalkAge {
		err = r.findOpeners(ctx, []*openLog{l}) // another reader may have come
	}
	if err != nil {
		_ = d.Remove(part)
		return "", err
	}
	cut, err := r.cutAtReader(ctx, l, dst, live, head, block)
	if err == nil {
		err = unix.Fallocate(int(live.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, cut)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		if st, err = live.Stat(); err == nil {
			err = copyUntilCaughtUp(ctx, dst, live, cut, 2*st.Size()+64<<20, func(at int64) error { return r.atReader(l, live, at) })
		}
	}
	if err != nil {
		_ = d.Remove(part)
		if lag := (*ReaderLagError)(nil); errors.As(err, &lag) {
			return "", err
		}
		return "", d.PathError("shorten", base, err)
	}
	archive.SetOwn(dst, true)
	if err := d.Rename(part, archiveName); err != nil {
		return "", err
	}
	return archiveName, d.Sync()
}

// slowestReader returns the offset of the reader that has furthest to go in a log, as it
// is now. ok is false where there is none, or where its offset does not show how far it is.
func (r *Rotator) slowestReader(l *openLog, live *os.File) (o logdir.Opener, size int64, ok bool) {
	r.Host.Advance(l.openers, l.at)
	var st unix.Statx_t
	if err := hostfs.Statx(int(live.Fd()), hostfs.Self, &st); err != nil {
		return o, 0, false
	}
	if o, ok = logdir.Behind(l.openers, &st, 0); ok {
		return o, int64(st.Size), true
	}
	for _, x := range l.openers { // at its end, or it reads with pread(2)
		if x.Reads() && x.OffsetBytes > 0 && (!ok || x.OffsetBytes < o.OffsetBytes) {
			o, ok = x, true
		}
	}
	return o, int64(st.Size), ok
}

// maxCatchUp bounds how often what a reader has read since the copy is copied, too.
const maxCatchUp = 8

// cutAtReader returns how much of a log can be cut off that was copied up to the offset
// end, and shortens or lengthens the copy to it: up to the block in which its slowest
// reader is, so that this reader finds each of its lines again, and reads less than a
// block twice. What is left must be less than half of what the reader has read: it
// notices a truncation by its offset, which must be beyond the end of the log also at
// its next look.
func (r *Rotator) cutAtReader(ctx context.Context, l *openLog, dst, live *os.File, end, block int64) (int64, error) {
	for range maxCatchUp {
		o, size, ok := r.slowestReader(l, live)
		if !ok {
			return end, nil
		}
		cut := min(int64(min(o.OffsetBytes, 1<<62)), size-1) / block * block
		if size-cut > int64(o.OffsetBytes)/2 {
			if l.Options.Force {
				return end, nil
			}
			return 0, &ReaderLagError{Path: l.Path, Reader: o, LagBytes: uint64(size) - min(o.OffsetBytes, uint64(size))}
		}
		if cut == end {
			return end, nil
		}
		if cut > end {
			if err := copyRange(ctx, dst, live, end, cut); err != nil {
				return 0, err
			}
		} else if err := dst.Truncate(cut); err != nil {
			return 0, err
		}
		if err := dst.Sync(); err != nil {
			return 0, err
		}
		if cut < end {
			return cut, nil
		}
		end = cut
	}
	return end, nil
}

// maxReaderWait is how long the truncation of a log waits for its readers.
const maxReaderWait = 250 * time.Millisecond

// atReader returns nil where every reader of the log has come to the offset at, and
// otherwise how far it is behind.
func (r *Rotator) atReader(l *openLog, live *os.File, at int64) error {
	o, _, ok := r.slowestReader(l, live)
	if !ok || l.Options.Force || o.OffsetBytes >= uint64(at) {
		return nil
	}
	return &ReaderLagError{Path: l.Path, Reader: o, LagBytes: uint64(at) - o.OffsetBytes}
}

// lockAndName keeps others from rotating a log until release, and returns the name of
// its next archive, which sorts after those that are there, whatever has become
// of the clock.
func lockAndName(d *logdir.Dir, live *os.File, base string, now time.Time) (archiveName string, release func(), err error) {
	if release, err = d.LockLog(base); err != nil {
		return "", nil, err
	}
	names, err := d.Names()
	if err == nil {
		archiveName, err = nextName(d, live, base, archive.List(base, names), now)
	}
	if err != nil {
		release()
		return "", nil, err
	}
	return archiveName, release, nil
}

// nextName returns the name of the next archive of a log that is locked. all are its
// archives.
func nextName(d *logdir.Dir, live *os.File, base string, all []archive.Archived, now time.Time) (archiveName string, err error) {
	if same, err := d.IsFile(base, live); err != nil {
		return "", err
	} else if !same {
		return "", fmt.Errorf("%s was rotated by another nodetune: %w", path.Join(d.Path, base), logdir.ErrInUse)
	}
	for _, a := range all {
		if a.Copy == "" {
			continue
		}
		// A killed run left the copy behind: the lock keeps others from making
		// one now. Whether its lines have been cut off the log can be found out
		// only until the log changes again.
		if err := recoverInPlace(d, base, a); err != nil {
			return "", err
		}
	}
	if len(all) > 0 && !now.After(all[len(all)-1].At) {
		now = all[len(all)-1].At.Add(time.Microsecond)
	}
	name := base + "." + archive.TimestampSuffix(now)
	if len(name) > unix.NAME_MAX {
		return "", logdir.Skipf("%s has a name of %d bytes, which leaves no room for the name of an archive: give it one of at most %d",
			path.Join(d.Path, base), len(base), len(base)-len(name)+unix.NAME_MAX)
	}
	return name, nil
}

// copyHead copies the first n bytes and makes them durable under their name.
func copyHead(ctx context.Context, d *logdir.Dir, dst, live *os.File, n int64) error {
	err := copyData(ctx, dst, live, n)
	if err == nil {
		err = logdir.CopyAttributes(dst, live)
	}
	if err == nil {
		err = logdir.CopyTimes(dst, live)
	}
	if err == nil {
		err = dst.Sync()
	}
	if err == nil {
		err = d.Sync()
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", path.Join(d.Path, live.Name()), err)
	}
	return nil
}

// copyData copies the first n bytes and leaves holes where src has them,
// lseek(2): the copy of a log with a hole of a terabyte must not take one. What a
// hole becomes while it is looked at comes with the next rotation.
func copyData(ctx context.Context, dst, src *os.File, n int64) error {
	if err := copyRange(ctx, dst, src, 0, n); err != nil {
		return err
	}
	return dst.Truncate(n)
}

// copyRange copies the bytes from begin to n, but for holes.
func copyRange(ctx context.Context, dst, src *os.File, begin, n int64) error {
	buf := make([]byte, 1<<20)
	for at := begin; at < n; {
		from, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // nothing but a hole up to the end
		}
		if err != nil {
			return err
		}
		to, err := unix.Seek(int(src.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if to = min(to, n, from+archive.RoomEvery); from >= to {
			break
		}
		if err := archive.CheckRoom(dst, uint64(min(n-from, archive.RoomStep))); err != nil {
			return err
		}
		part := &archive.Interruptible{Ctx: ctx, Reader: io.NewSectionReader(src, from, to-from)}
		m, err := io.CopyBuffer(struct{ io.Writer }{io.NewOffsetWriter(dst, from)}, part, buf)
		if err == nil && m != to-from {
			err = fmt.Errorf("another process truncated %s during the copy: %w", src.Name(), io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		at = to
	}
	return nil
}

// copyUntilCaughtUp copies what live has beyond at until there is no more, and truncates
// it. The disk is not waited for: at the first look after fsync(2) a whole
// flush of lines has come, and it would be the truncation that they meet.
//
// A write that crosses a page is seen in pieces, and the truncation comes after
// the last of them: it would take the rest of a line. So where the copy ends
// within a line, the write under way is waited for and looked at again, not for
// ever: a writer of something else than lines may never be met at an end. And a
// writer that is faster than the copy must not fill the disk: beyond most bytes
// it is given up. So it is where the readers of the log have not come as far as
// the copy, by ready, at any moment of maxReaderWait.
func copyUntilCaughtUp(ctx context.Context, dst, live *os.File, at, most int64, ready func(at int64) error) error {
	buf := make([]byte, 1<<20)
	half, waits := false, 1000
	read := int64(-1) // how far all readers have come
	var giveUp time.Time
	for ctx.Err() == nil {
		n, err := live.ReadAt(buf, at)
		if n > 0 {
			half = buf[n-1] != '\n'
			if err := archive.CheckRoom(dst, uint64(n)); err != nil {
				return err
			}
			if _, err := dst.WriteAt(buf[:n], at); err != nil {
				return err
			}
			at += int64(n)
		}
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case at > most:
			return logdir.Skipf("it is written faster than it is copied")
		case n > 0:
		case half && waits > 0:
			half = false // unless more has come when the write is done
			waits--
			waitForWriter(live)
		case read != at:
			err := ready(at)
			switch now := time.Now(); {
			case err == nil:
				read = at // nothing may have come meanwhile
			case giveUp.IsZero():
				giveUp = now.Add(maxReaderWait)
			case now.After(giveUp):
				return err
			default:
				time.Sleep(time.Millisecond)
			}
		default:
			return live.Truncate(0)
		}
	}
	return ctx.Err()
}

// waitForWriter waits for the end of a write(2) to f. Writes and changes of
// attributes exclude each other in every filesystem of Linux (i_rwsem), and this
// one is of an attribute that is not there, so it changes nothing. A chown(2) that
// keeps the owner would not do: it clears the set-user-ID bit.
func waitForWriter(f *os.File) { _ = unix.Fremovexattr(int(f.Fd()), "user.nodetune.none") }

// recoverInPlace finishes or undoes a shorten that did not come to its end. The copy
// is whole where the head of the log is gone, since it was on the disk before;
// where the head is still there it is dropped, whole or not.
func recoverInPlace(d *logdir.Dir, base string, r archive.Archived) error {
	dst, st, err := d.OpenFile(r.Copy, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = dst.Close() }()
	if err := d.Lock(r.Copy, dst); err != nil {
		return err
	}
	live, lst, err := d.OpenFile(base, unix.O_RDONLY)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	there := st.Size == 0
	if err == nil {
		defer func() { _ = live.Close() }()
		if !there && lst.Size >= st.Size {
			if there, err = archive.SameContent(dst, live, int64(st.Size)); err != nil {
				return d.PathError("compare", r.Copy, err)
			}
		}
	}
	if there {
		return d.Remove(r.Copy)
	}
	if err := d.Rename(r.Copy, r.Name); err != nil {
		return err
	}
	return d.Sync()
}
