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
func rotateInPlace(ctx context.Context, d *logdir.Dir, base string, openers []logdir.Opener, now time.Time) (string, error) {
	for _, o := range openers {
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
	cut := (st.Size() - 1) / block * block
	if cut <= 0 {
		return "", logdir.Skipf("%s has %d bytes: less than a block is not worth a copy", path.Join(d.Path, base), st.Size())
	}
	var head unix.Stat_t // a hole is not copied
	if err := unix.Fstat(int(live.Fd()), &head); err != nil {
		return "", d.PathError("stat", base, err)
	}
	if err := archive.CheckRoom(live, uint64(min(cut, head.Blocks*512))); err != nil {
		return "", fmt.Errorf("%s stays as it is: %w", path.Join(d.Path, base), err)
	}
	part := "." + archiveName + logdir.CopySuffix
	dst, err := d.Create(part)
	if err != nil {
		return "", err
	}
	defer func() { _ = dst.Close() }()
	if err = copyHead(ctx, d, dst, live, cut); err != nil {
		_ = d.Remove(part)
		return "", err
	}
	err = unix.Fallocate(int(live.Fd()), unix.FALLOC_FL_COLLAPSE_RANGE, 0, cut)
	if errors.Is(err, unix.EOPNOTSUPP) {
		if st, err = live.Stat(); err == nil {
			err = copyUntilCaughtUp(ctx, dst, live, cut, 2*st.Size()+64<<20)
		}
	}
	if err != nil {
		_ = d.Remove(part)
		return "", d.PathError("shorten", base, err)
	}
	archive.SetOwn(dst, true)
	if err := d.Rename(part, archiveName); err != nil {
		return "", err
	}
	return archiveName, d.Sync()
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
	return base + "." + archive.TimestampSuffix(now), nil
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
	buf := make([]byte, 1<<20)
	for at := int64(0); at < n; {
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
		if to = min(to, n, from+archive.RoomStep); from >= to {
			break
		}
		if err := archive.CheckRoom(dst, uint64(to-from)); err != nil {
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
	return dst.Truncate(n)
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
// it is given up.
func copyUntilCaughtUp(ctx context.Context, dst, live *os.File, at, most int64) error {
	buf := make([]byte, 1<<20)
	half, waits := false, 1000
	for ctx.Err() == nil {
		n, err := live.ReadAt(buf, at)
		if n > 0 {
			half = buf[n-1] != '\n'
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
