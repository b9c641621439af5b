package rotate

import (
	"errors"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
)

// Expired returns the archives that are too many, too old or too large, the
// oldest first. The last one always stays, and so does what is unread, unless the
// disk is short and nothing else is left to remove.
func Expired(all []archive.Archived, how Options, now time.Time) []archive.Archived {
	if how.KeepSize == 0 && (how.Archives == 0 || len(all) <= how.Archives) && (how.KeepFor == 0 || len(all) == 0 || now.Sub(all[0].At) <= how.KeepFor) {
		return nil // the usual case, of each log in each pass
	}
	var whole []archive.Archived
	bytes := uint64(0)
	for _, a := range all {
		if a.Plain || a.Compression != archive.None {
			whole = append(whole, a)
			bytes += a.Bytes
		}
	}
	var gone []archive.Archived
	remove := func(goes func(a archive.Archived, n int) bool) {
		left := whole[:0:0]
		n := len(whole)
		for i, a := range whole {
			if i == len(whole)-1 || !goes(a, n) {
				left = append(left, a)
				continue
			}
			n--
			bytes -= a.Bytes
			if a.Plain {
				a.Compression = archive.None
			}
			gone = append(gone, a)
		}
		whole = left
	}
	large := func() bool { return how.KeepSize > 0 && bytes > how.KeepSize }
	excess := func(a archive.Archived, n int) bool {
		many := how.Archives > 0 && n > how.Archives
		old := how.KeepFor > 0 && now.Sub(a.At) > how.KeepFor
		return many || old
	}
	remove(func(a archive.Archived, n int) bool {
		return a.State != archive.StateUnread && (excess(a, n) || large() && a.State == archive.StateRead)
	})
	if how.LoseUnread {
		// A log of a container has a size of its own; a log of the host, a number.
		remove(func(a archive.Archived, n int) bool { return large() || how.KeepSize == 0 && excess(a, n) })
	}
	return gone
}

// RemoveExcess removes the archives that are too many or too old,
// except those that a process has open.
func RemoveExcess(d *logdir.Dir, all []archive.Archived, how Options, now time.Time, s *Finished) error {
	var errs []error
	for _, a := range Expired(all, how, now) {
		name := a.Name + a.Compression.Suffix()
		unread := uint64(0)
		if a.State == archive.StateUnread {
			unread = archive.ContentSize(d, name, a.Compression)
		}
		switch freed, err := removeArchive(d, name); {
		case errors.Is(err, logdir.ErrInUse):
			s.Waiting++
		case errors.Is(err, unix.ENOENT): // the kubelet was faster
		case err != nil:
			errs = append(errs, err)
		default:
			s.Removed = append(s.Removed, Archive{Path: path.Join(d.Path, name), Bytes: freed, Unread: unread})
		}
	}
	return errors.Join(errs...)
}

// removeArchive removes an archive that no process has open, and returns how many
// bytes that freed.
func removeArchive(d *logdir.Dir, name string) (uint64, error) {
	f, st, err := d.OpenFile(name, unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	if err := logdir.CheckUnused(f); err != nil {
		return 0, err
	}
	return st.Blocks * 512, d.Remove(name)
}
