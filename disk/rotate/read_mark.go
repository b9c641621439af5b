package rotate

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// unreadArchive is an archive that has the mark of an unread one, and a reader.
type unreadArchive struct {
	dir, name string
	at        hostfs.Inode
}

// clearMarks removes the mark from each archive that all its readers have read to
// its end. One walk of /proc serves all.
func (r *Rotator) clearMarks(ctx context.Context, all []unreadArchive) error {
	if len(all) == 0 {
		return nil
	}
	files := make([]hostfs.Inode, len(all))
	for i, a := range all {
		files[i] = a.at
	}
	openers, err := r.Host.Openers(ctx, all[0].name, files...)
	if err != nil {
		return err
	}
	var errs []error
	for _, a := range all {
		if slices.ContainsFunc(openers[a.at], logdir.Opener.Reads) {
			errs = append(errs, r.clearMark(a, openers[a.at]))
		}
	}
	return errors.Join(errs...)
}

func (r *Rotator) clearMark(a unreadArchive, openers []logdir.Opener) error {
	d, err := r.Host.Open(a.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	f, st, err := d.OpenFile(a.name, unix.O_RDONLY)
	if errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, behind := logdir.FurthestBehind(openers, st.Size, 0); !behind && inodeOf(&st) == a.at {
		archive.SetUnread(f, false)
	}
	return nil
}

// readMarks sets the state of each archive by its mark, where one of them is to go.
func readMarks(d *logdir.Dir, all []archive.Archived, goes func([]archive.Archived) bool) {
	for i := range all { // of the pass before, which the listing keeps
		all[i].State = archive.StateRead
	}
	if !goes(all) {
		return
	}
	for i := range all {
		a := &all[i]
		name := a.Name
		if !a.Plain {
			name += a.Compression.Suffix()
		}
		f, _, err := d.OpenFile(name, unix.O_RDONLY)
		if err != nil {
			continue // it is gone, or its removal reports why
		}
		if archive.IsUnread(f) {
			a.State = archive.StateUnread
		}
		_ = f.Close()
	}
}
