package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// takeLive rotates a log that a rotation names, and punches any other below what
// its readers have now.
func (r *Reclaimer) takeLive(ctx context.Context, s Step, a Act, now time.Time) Act {
	if rule, ok := RotationOf(r.policy.Rotations, s.Path); ok {
		how := rule.How()
		how.Force = true
		how.Asked = func(who string) { a.Asked = who }
		archiveName, err := r.Rotate(ctx, s.Path, how, now)
		a.Verb, a.Archive, a.Bytes = ActRotate, archiveName, s.Bytes
		return a.failed(err)
	}
	a.Verb, a.Bytes = ActPunch, 0
	err := r.in(s.Path, func(d *folder, name string) error {
		f, st, err := d.file(name, unix.O_RDWR)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if (inode{dev: d.dev, ino: st.Ino}) != s.inode {
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
