package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Settled is what has become of the archives of one log.
type Settled struct {
	Compressed []Archive // with what they had before
	Removed    []Archive // beyond the number or age that is kept, with what that freed
	Repaired   []string  // left behind by a run that was killed
	Waiting    int       // somebody writes or reads them, or did a moment ago
}

// Archive is an archive that something was done to.
type Archive struct {
	Path  string
	Bytes uint64
}

// Settle brings the archives of the log at the path file to where the policy
// wants them, whatever a run before has left behind: it asks a writer who still
// has an archive open to reopen, drops what is half done, compresses what
// nobody has open any more, and removes what is too many or too old. What has
// to wait waits for the next call. One archive that fails does not stop the
// others.
func (r *Rotator) Settle(ctx context.Context, file string, how How, now time.Time) (Settled, error) {
	var s Settled
	d, err := r.host.open(path.Dir(file))
	if err != nil {
		return s, err
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		return s, err
	}
	base := path.Base(file)
	if slices.Contains(names, "."+base+lockEnding) {
		if release, err := d.alone(base); err == nil {
			release() // of a run that was killed
		}
	}
	all := archivesOf(base, names)
	var errs []error
	for i := range all {
		if ctx.Err() != nil {
			break
		}
		if err := r.settle(ctx, d, base, &all[i], how, now, &s); err != nil && !errors.Is(err, errBusy) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, removeExcess(d, all, how, now, &s))
	if len(s.Removed) > 0 {
		errs = append(errs, d.sync())
	}
	return s, errors.Join(append(errs, ctx.Err())...)
}

func (r *Rotator) settle(ctx context.Context, d *folder, base string, a *archived, how How, now time.Time, s *Settled) error {
	repaired := func(name string) { s.Repaired = append(s.Repaired, path.Join(d.path, name)) }
	for _, p := range a.parts {
		if err := d.abandoned(p); err != nil {
			return err
		}
		repaired(p)
	}
	if a.copy != "" {
		if err := recoverInPlace(d, base, *a); err != nil {
			return err
		}
		repaired(a.copy)
		return nil // what it is now is seen by the next call
	}
	if !a.plain {
		return nil
	}
	f, st, err := d.file(a.name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	idle, err := Probe(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("probe %s: %w", path.Join(d.path, a.name), err)
	}
	at := inode{dev: unix.Mkdev(st.Dev_major, st.Dev_minor), ino: st.Ino}
	if idle == Written {
		s.Waiting++
		if how.Reopen.isZero() {
			return errBusy
		}
		if err := recreateLog(d, base, a.name, f); err != nil {
			return err
		}
		who, err := r.host.openers(ctx, base, at)
		if err == nil {
			err = r.ask(how, at, who[at], now)
		}
		return err
	}
	delete(r.asked, at)
	switch {
	case idle != Unheld:
		s.Waiting++
		return errBusy
	case st.Size == 0: // killed before the exchange
		// Or opened before the exchange that made it the log: lock looks.
		if err := d.lock(a.name, f); err != nil {
			return err
		}
		if err := d.remove(a.name); err != nil {
			return err
		}
		a.plain = false
		repaired(a.name)
		return nil
	case a.comp != None: // killed before the archive was removed, or before it was compressed in full
		return resolveDuplicate(d, a, f, int64(st.Size), repaired)
	case how.Compress == None:
		return nil
	case now.Sub(when(st.Mtime)) < how.Grace:
		s.Waiting++
		return errBusy
	}
	_ = f.Close() // a second descriptor of ours would hold it
	if err := compressArchive(ctx, d, a.name, how.Compress); err != nil {
		if errors.Is(err, errBusy) {
			s.Waiting++
		}
		return err
	}
	a.plain, a.comp = false, how.Compress
	s.Compressed = append(s.Compressed, Archive{Path: path.Join(d.path, a.name+how.Compress.ending()), Bytes: st.Size})
	return nil
}

// recreateLog makes the log again that a run killed in the middle of exchange has
// left without a name, like its archive: not every daemon creates what it opens.
func recreateLog(d *folder, base, archiveName string, like *os.File) error {
	var st unix.Statx_t
	if err := statx(d.fd, []byte(base+"\x00"), &st); !errors.Is(err, unix.ENOENT) {
		return d.wrap("stat", base, err)
	}
	part := "." + archiveName + partEnding
	fresh, err := d.create(part)
	if err != nil {
		return err
	}
	defer func() { _ = fresh.Close() }()
	if err := copyAttributes(fresh, like); err != nil {
		return errors.Join(err, d.remove(part))
	}
	return d.rename(part, base)
}

// resolveDuplicate keeps of an archive and its compressed form the one that is
// surely whole. A compressed form that is whole and of something else is never
// removed: the archive gets another name.
func resolveDuplicate(d *folder, a *archived, f *os.File, size int64, repaired func(string)) error {
	name := a.name + a.comp.ending()
	z, _, err := d.file(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	n, sum, err := decode(z, a.comp)
	if err == nil {
		m, want, err := decode(io.NewSectionReader(f, 0, n), None)
		switch {
		case err != nil:
			return d.wrap("read", a.name, err)
		case m != n || want != sum: // two archives of one second, both whole
			if len(path.Ext(a.name)) != len(".")+len(containerStamp) {
				return fmt.Errorf("%s and %s are both whole and differ: they are left as they are", path.Join(d.path, a.name), name)
			}
			return d.rename(a.name, a.name+"000001") // seen by the next call
		case n == size:
			if err := z.Sync(); err != nil { // it may have been renamed a moment before the crash
				return d.wrap("sync", name, err)
			}
			if err := dropCompressed(d, a.name, f, n); err != nil {
				return err
			}
			a.plain = false
			repaired(a.name)
			return nil
		}
	}
	if err := d.remove(name); err != nil {
		return err
	}
	a.comp = None
	repaired(name)
	return d.sync()
}

// expired returns the archives that are too many, too old or too large, the
// oldest first. The last one always stays, and so does what is unread.
func expired(all []archived, how How, now time.Time) []archived {
	var whole []archived
	for _, a := range all {
		if a.plain || a.comp != None {
			whole = append(whole, a)
		}
	}
	bytes := uint64(0)
	for _, a := range whole {
		bytes += a.bytes
	}
	var gone []archived
	for i, a := range whole {
		n := len(whole) - len(gone) // with this one
		many := how.Archives > 0 && n > how.Archives
		old := how.KeepFor > 0 && now.Sub(a.at) > how.KeepFor
		large := how.KeepSize > 0 && bytes > how.KeepSize && a.fate == fateRead
		if i == len(whole)-1 || a.fate == fateUnread || !many && !old && !large {
			continue
		}
		bytes -= a.bytes
		if a.plain {
			a.comp = None
		}
		gone = append(gone, a)
	}
	return gone
}

// removeExcess removes the archives that are too many or too old, unless somebody has
// one open.
func removeExcess(d *folder, all []archived, how How, now time.Time, s *Settled) error {
	var errs []error
	for _, a := range expired(all, how, now) {
		name := a.name + a.comp.ending()
		switch freed, err := removeArchive(d, name); {
		case errors.Is(err, errBusy):
			s.Waiting++
		case errors.Is(err, unix.ENOENT): // the kubelet was faster
		case err != nil:
			errs = append(errs, err)
		default:
			s.Removed = append(s.Removed, Archive{Path: path.Join(d.path, name), Bytes: freed})
		}
	}
	return errors.Join(errs...)
}

// removeArchive removes an archive that nobody has open, and returns how many bytes
// that freed.
func removeArchive(d *folder, name string) (uint64, error) {
	f, st, err := d.file(name, unix.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	if err := unheld(f); err != nil {
		return 0, err
	}
	return st.Blocks * 512, d.remove(name)
}
