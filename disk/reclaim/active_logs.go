package reclaim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// executeActiveLog rotates a log that a rotation names, and punches any other below what
// its readers have now.
func (r *Reclaimer) executeActiveLog(ctx context.Context, s Step, a logdir.Action, now time.Time) logdir.Action {
	if rule, ok := rotate.RuleFor(r.policy.Rotations, s.Path); ok {
		how := rule.Options()
		how.Force = true
		how.Asked = func(process string) { a.Asked = process }
		archiveName, err := r.Rotate(ctx, s.Path, how, now)
		a.Verb, a.Archive, a.Bytes = logdir.ActionRotate, archiveName, s.Bytes
		return a.WithError(err)
	}
	a.Verb, a.Bytes = logdir.ActionPunch, 0
	err := r.withDir(s.Path, func(d *logdir.Dir, name string) error {
		f, st, err := d.OpenFile(name, unix.O_RDWR)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if (hostfs.Inode{Dev: d.Dev, Ino: st.Ino}) != s.inode {
			return fmt.Errorf("%s was replaced a moment ago: %w", s.Path, logdir.ErrInUse)
		}
		openers, err := r.host.Openers(ctx, name, s.inode)
		if err != nil {
			return err
		}
		read, readers := st.Size, 0
		for _, o := range openers[s.inode] {
			if !o.Writes {
				read = min(read, o.LeastOffsetBytes)
				readers++
			}
		}
		if readers == 0 {
			return fmt.Errorf("%s: no process reads it any more: %w", s.Path, logdir.ErrInUse)
		}
		below, frees := punchable(st.Size, st.Blocks*512, read)
		if frees == 0 {
			return logdir.ErrInUse
		}
		if err := checkText(f, int64(below)); err != nil {
			return err
		}
		a.Bytes, err = r.punch(int(f.Fd()), s.Path, below)
		return err
	})
	return a.WithError(err)
}

// checkText refuses a file that does not look like a log where the hole would end: a
// database has no business in a log directory, and is found there all the same.
func checkText(f *os.File, end int64) error {
	b := make([]byte, 64<<10)
	n, err := f.ReadAt(b, max(end-int64(len(b)), 0))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if bytes.IndexByte(b[:n], 0) >= 0 || bytes.IndexByte(b[:n], '\n') < 0 {
		return logdir.Skipf("%s has no lines of text: it is no log", f.Name())
	}
	return nil
}
