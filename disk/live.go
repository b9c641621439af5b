package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// live returns c as an oversized log that is being written, if it is one. What a
// rotation of the policy names is rotated before its time. Of any other, which
// nobody rotates, goes what has been read: a hole changes neither its size nor
// where its writer and its readers are, while a log that is cut makes readers
// begin again. Logs of containers are rotated through their runtime, see Bursts,
// and those of logrotate are its own.
func (r *Reclaimer) live(c Candidate, st *unix.Statx_t, read map[inode]uint64, logrotate func() (func(string) bool, error)) (Candidate, bool) {
	if c.Bytes < uint64(r.policy.Reclaim.LiveSize) {
		return Candidate{}, false
	}
	if managed, err := logrotate(); err != nil || managed(c.Path) {
		return Candidate{}, false
	}
	c.Class = ClassLive
	if _, c.rule = RotationOf(r.policy.Rotations, c.Path); !c.rule {
		c.below, c.Bytes = punchable(st.Size, c.Bytes, read[c.inode])
	}
	return c, c.Bytes > 0
}

// readUpTo says of each file up to where all its readers are; 0 where that is
// not known of one.
func readUpTo(all []Reader) map[inode]uint64 {
	read := map[inode]uint64{}
	for _, x := range all {
		at, offset := inode{x.Device, x.Inode}, uint64(0)
		if x.OffsetBytes != nil {
			offset = *x.OffsetBytes
		}
		if was, ok := read[at]; ok {
			offset = min(offset, was)
		}
		read[at] = offset
	}
	return read
}

// textual reports whether the file may be a log of lines that is being written:
// no archive, no journal, no dump, no log of a container, and no audit log.
func textual(dir, name, pods string) bool {
	_, old := archive([]byte(name))
	_, inPod := within(dir, pods)
	return !old && !inPod && kindOf(dir) == KindFile && !strings.Contains(dir, "/audit")
}

// takeLive rotates a log that a rotation names, and punches any other below what
// its readers have now.
func (r *Reclaimer) takeLive(ctx context.Context, s Step, a Act, now time.Time) Act {
	if rule, ok := RotationOf(r.policy.Rotations, s.Path); ok {
		how := rule.How()
		how.Force = true
		how.Asked = func(who string) { a.Asked = who }
		archive, err := r.Rotate(ctx, s.Path, how, now)
		a.Verb, a.Archive, a.Bytes = ActRotate, archive, s.Bytes
		return a.failed(err)
	}
	a.Verb, a.Bytes = ActPunch, 0
	err := r.in(s.Path, func(d *folder, name string) error {
		f, st, err := d.file(name, unix.O_RDWR)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if (inode{d.dev, st.Ino}) != s.inode {
			return fmt.Errorf("%s is another file than a moment ago: %w", s.Path, errBusy)
		}
		who, err := r.host.openers(ctx, name, s.inode)
		if err != nil {
			return err
		}
		read, readers := st.Size, 0
		for _, o := range who[s.inode] {
			if !o.Writes {
				read = min(read, o.OffsetBytes)
				readers++
			}
		}
		if readers == 0 {
			return fmt.Errorf("%s: nobody reads it any more: %w", s.Path, errBusy)
		}
		below, frees := punchable(st.Size, st.Blocks*512, read)
		if frees == 0 {
			return errBusy
		}
		if err := lines(f, int64(below)); err != nil {
			return err
		}
		a.Bytes, err = r.punch(int(f.Fd()), s.Path, below)
		return err
	})
	return a.failed(err)
}

// lines refuses a file that does not look like a log where the hole would end: a
// database has no business in a log directory, and is found there all the same.
func lines(f *os.File, end int64) error {
	b := make([]byte, 64<<10)
	n, err := f.ReadAt(b, max(end-int64(len(b)), 0))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if bytes.IndexByte(b[:n], 0) >= 0 || bytes.IndexByte(b[:n], '\n') < 0 {
		return refusef("%s has no lines of text: it is no log", f.Name())
	}
	return nil
}
