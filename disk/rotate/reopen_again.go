package rotate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

const (
	// ReopenInterval is how long a writer may take to reopen before it is asked again.
	ReopenInterval = 10 * time.Second
	// A writer that was asked maxRequests times, and still writes to the archive after
	// giveBackAfter, does not reopen its log: the log gets its file back.
	maxRequests   = 3
	giveBackAfter = 25 * time.Second
	// retryAfter is how long such a log is left alone.
	retryAfter = time.Hour
)

// reopening is what is known of the requests to the writer of an archive.
type reopening struct {
	first, last time.Time
	requests    int
}

// writtenArchive is an archive that a process still writes.
type writtenArchive struct {
	dir, base, name string
	at              hostfs.Inode
	how             Options
	log             int // in a list of logs
}

func (a writtenArchive) path() string { return path.Join(a.dir, a.base) }

// requestReopenAll asks the writers of archives to reopen their logs, each once, and
// gives the logs of those that never do their files back. It returns an error for each
// archive, or nil.
func (r *Rotator) requestReopenAll(ctx context.Context, all []writtenArchive, now time.Time) []error {
	errs := make([]error, len(all))
	var files []hostfs.Inode
	var names []string
	for i, a := range all {
		switch is, ok := r.asked[a.at]; {
		case ok && is.requests >= maxRequests && now.Sub(is.first) >= giveBackAfter:
			delete(r.asked, a.at)
			switch err := r.giveBack(a); {
			case err == nil:
				maps.DeleteFunc(r.gaveBack, func(_ string, at time.Time) bool { return now.Sub(at) >= retryAfter || now.Before(at) })
				r.gaveBack[a.path()] = now
				errs[i] = notReopened(a.path())
			case !errors.Is(err, logdir.ErrInUse): // its other writers did reopen it
				errs[i] = err
			}
		case ok && is.askedLately(now):
		default:
			files, names = append(files, a.at), append(names, a.base)
		}
	}
	if len(files) == 0 {
		return errs
	}
	openers, err := r.Host.Openers(ctx, commonPart(names), files...)
	sent := signalled{}
	for i, a := range all {
		switch {
		case !slices.Contains(files, a.at):
		case err != nil:
			errs[i] = err
		default:
			errs[i] = r.requestReopen(a.how, a.at, openers[a.at], sent, now)
		}
	}
	return errs
}

// forget drops what is remembered of logs that are gone.
func (r *Rotator) forget(now time.Time) {
	maps.DeleteFunc(r.asked, func(_ hostfs.Inode, is reopening) bool { return now.Sub(is.last) > retryAfter })
	maps.DeleteFunc(r.gaveBack, func(_ string, at time.Time) bool { return now.Sub(at) > retryAfter })
}

func (is reopening) askedLately(now time.Time) bool {
	return now.Sub(is.last) < ReopenInterval && !now.Before(is.last)
}

func (r *Rotator) requestReopen(how Options, at hostfs.Inode, openers []logdir.Opener, sent signalled, now time.Time) error {
	is := r.asked[at]
	if is.requests > 0 && is.askedLately(now) {
		return nil
	}
	if !slices.ContainsFunc(openers, func(o logdir.Opener) bool { return o.Writes }) {
		return nil // it has reopened since the lease was asked, or cannot be seen: the next call looks again
	}
	asked, err := how.Reopen.request(r.Host.Walker, r.Host.Procfs, openers, sent)
	if err == nil {
		if is.requests == 0 {
			is.first = now
		}
		is.last = now
		is.requests++
		r.asked[at] = is
		if how.Asked != nil {
			how.Asked(asked)
		}
	}
	return err
}

// giveBack gives a log the file back that its writer did not leave, if the new file has
// no line and no writer. The lines in it are then where the readers of the log look.
func (r *Rotator) giveBack(a writtenArchive) error {
	d, err := r.Host.Open(a.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	release, err := d.LockLog(a.base)
	if err != nil {
		return err
	}
	defer release()
	old, st, err := d.OpenFile(a.name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }()
	if inodeOf(&st) != a.at {
		return fmt.Errorf("%s was replaced a moment ago: %w", path.Join(a.dir, a.name), logdir.ErrInUse)
	}
	if err := checkEmptyUnwritten(d, a.base); err != nil {
		return err
	}
	// In this order: where the filesystem takes three renames for it, a run that is killed
	// between them must not leave the lines under a name that RemoveStale takes.
	if err := d.Exchange(a.base, a.name); err != nil {
		return err
	}
	if err := checkEmptyUnwritten(d, a.name); err != nil { // its writer has opened it meanwhile
		return errors.Join(err, d.Exchange(a.base, a.name))
	}
	archive.SetOwn(old, false)
	archive.SetUnread(old, false)
	if err := d.RemoveStaleEmpty(a.name); !errors.Is(err, logdir.ErrInUse) {
		return err
	}
	return nil // a reader has it open: a later pass removes it
}

// checkEmptyUnwritten returns an error if the file has a line, or a process that may
// write one.
func checkEmptyUnwritten(d *logdir.Dir, name string) error {
	f, st, err := d.OpenFile(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	used, err := logdir.Probe(int(f.Fd()))
	if err == nil && (used == logdir.UsedByWriter || st.Size > 0) {
		err = fmt.Errorf("%s has another writer: %w", path.Join(d.Path, name), logdir.ErrInUse)
	}
	return err
}

// checkGaveBack returns an error for a log whose writer lately did not reopen it.
func (r *Rotator) checkGaveBack(file string, now time.Time) error {
	at, ok := r.gaveBack[file]
	if ok && now.Sub(at) < retryAfter && !now.Before(at) {
		return notReopened(file)
	}
	delete(r.gaveBack, file)
	return nil
}

func notReopened(file string) error {
	return logdir.Skipf("%s has its old file back: its writer got %d signals in %v and did not reopen it. Name the signal that makes it reopen its log, or rotate the log in place; nodetune tries again after %v",
		file, maxRequests, giveBackAfter, retryAfter)
}
