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

// Finished is what has become of the archives of one log.
type Finished struct {
	Compressed []Archive // with what they had before
	Removed    []Archive // beyond the number or age that is kept, with what that freed
	Repaired   []string  // left behind by a run that was killed
	Waiting    int       // a process writes or reads them, or did a moment ago

	written    []writtenArchive // by a process that is to be asked to reopen
	unread     []unreadArchive  // with a reader that may have come to their end
	toCompress []compression    // beside the pass
	unused     unusedArchive    // the last one that had nothing due and no opener
}

// unusedArchive is an archive that no process has open, and for which nothing is due
// until a time, or ever.
type unusedArchive struct {
	name  string
	until time.Time
}

// Archive is an archive that something was done to.
type Archive struct {
	Path   string
	Bytes  uint64
	Unread uint64 // of what was removed: the bytes that no reader had
}

// FinishRotation brings the archives of the log at the path file to where the policy
// wants them, whatever a run before has left behind: it asks a writer who still
// has an archive open to reopen, drops what is half done, compresses what
// no process has open any more, and removes what is too many or too old. What has
// to wait waits for the next call. One archive that fails does not stop the
// others.
func (r *Rotator) FinishRotation(ctx context.Context, file string, how Options, now time.Time) (Finished, error) {
	got := r.FinishAll(ctx, []Log{{file, how}}, now)[0]
	return got.Finished, got.Err
}

// FinishedLog is the result of finishing the rotations of one log.
type FinishedLog struct {
	Finished
	Err error
}

// FinishAll finishes the rotations of logs as FinishRotation does. The writers that still
// have an archive open are looked up and asked together.
func (r *Rotator) FinishAll(ctx context.Context, logs []Log, now time.Time) []FinishedLog {
	dirs := listings{map[string]*listing{}, r.remembered}
	defer dirs.close()
	return r.finishAll(ctx, dirs, logs, now)
}

func (r *Rotator) finishAll(ctx context.Context, dirs listings, logs []Log, now time.Time) []FinishedLog {
	all := make([]FinishedLog, len(logs))
	var written []writtenArchive
	var unread []unreadArchive
	var jobs []compression
	for i, l := range logs {
		x := &all[i]
		if x.Err = ctx.Err(); x.Err != nil {
			continue
		}
		in, err := dirs.list(r.Host, path.Dir(l.Path))
		if err == nil {
			x.Finished, err = r.finishArchives(ctx, in, path.Base(l.Path), l.Options, now)
		}
		x.Err = err
		for _, a := range x.written {
			a.log = i
			written = append(written, a)
		}
		unread = append(unread, x.unread...)
		jobs = append(jobs, x.toCompress...)
	}
	r.beside.add(r.Host, jobs)
	if err := r.clearMarks(ctx, unread); err != nil && ctx.Err() == nil && !errors.Is(err, logdir.ErrOpenersUnknown) {
		all[0].Err = errors.Join(all[0].Err, err)
	}
	for i, err := range r.requestReopenAll(ctx, written, now) {
		x := &all[written[i].log]
		x.Err = errors.Join(x.Err, err)
	}
	return all
}

// finishArchives is FinishRotation but for the requests to reopen.
func (r *Rotator) finishArchives(ctx context.Context, in *listing, base string, how Options, now time.Time) (Finished, error) {
	var s Finished
	d := in.dir
	if in.locked[base] {
		if release, err := d.LockLog(base); err == nil {
			release() // of a run that was killed
		}
	}
	all := in.archives[base]
	var errs []error
	for i := range all {
		if ctx.Err() != nil {
			break
		}
		a := &all[i]
		if !a.Plain && a.Copy == "" && len(a.Parts) == 0 {
			continue // compressed: nothing is left to finish
		}
		key := settledArchive{a.Name, how.Compress, how.Grace}
		until, ok := in.settled[key]
		switch {
		case ok && until.IsZero():
			continue
		case ok && now.Before(until), r.beside.has(path.Join(d.Path, a.Name)):
			s.Waiting++
			continue
		}
		err := r.FinishArchive(ctx, d, base, a, how, now, &s)
		if s.unused.name == a.Name {
			in.settled[key] = s.unused.until
		}
		// ENOENT: it was compressed beside the pass since the directory was listed.
		if err != nil && !errors.Is(err, logdir.ErrInUse) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, err)
		}
	}
	for i := range all { // a clock that was ahead once gave names of the future
		if at := rotatedAt(d, all[i], now); !at.IsZero() {
			all[i].At = at
		}
	}
	readMarks(d, all, func(all []archive.Archived) bool { return len(Expired(all, how, now)) > 0 })
	errs = append(errs, RemoveExcess(d, all, how, now, &s))
	if len(s.Removed) > 0 {
		errs = append(errs, d.Sync())
	}
	return s, errors.Join(append(errs, ctx.Err())...)
}

// maxHoles is how much of an archive may be holes for it to be compressed. A writer
// without O_APPEND makes one where its log is cut: compressing 8 GiB of zeros takes
// half a minute, and frees nothing.
const maxHoles = 64 << 20

// FinishArchive finishes one archive of the log base in d, and adds to s what it
// did: it removes stale parts, completes or drops a copy that a killed run left
// behind, and compresses the archive once no process has it open.
func (r *Rotator) FinishArchive(ctx context.Context, d *logdir.Dir, base string, a *archive.Archived, how Options, now time.Time, s *Finished) error {
	repaired := func(name string) { s.Repaired = append(s.Repaired, path.Join(d.Path, name)) }
	for _, p := range a.Parts {
		var st unix.Statx_t
		if err := hostfs.Statx(d.FD, []byte(p+"\x00"), &st); errors.Is(err, unix.ENOENT) {
			continue // it was complete since the directory was listed
		}
		if err := d.RemoveStale(p); err != nil {
			return err
		}
		repaired(p)
	}
	if a.Copy != "" {
		if err := recoverInPlace(d, base, *a); err != nil {
			return err
		}
		repaired(a.Copy)
		return nil // what it is now is seen by the next call
	}
	if !a.Plain {
		return nil
	}
	f, st, err := d.OpenFile(a.Name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	idle, err := logdir.Probe(int(f.Fd()))
	if err != nil {
		return fmt.Errorf("probe %s: %w", path.Join(d.Path, a.Name), err)
	}
	at := inodeOf(&st)
	if idle == logdir.UsedByWriter {
		s.Waiting++
		if how.Reopen.IsZero() {
			return logdir.ErrInUse
		}
		s.written = append(s.written, writtenArchive{dir: d.Path, base: base, name: a.Name, at: at, how: how})
		return recreateLog(d, base, a.Name, f)
	}
	delete(r.asked, at)
	switch {
	case idle != logdir.Unused:
		if archive.IsUnread(f) {
			s.unread = append(s.unread, unreadArchive{d.Path, a.Name, at})
		}
		s.Waiting++
		return logdir.ErrInUse
	case st.Size == 0: // killed before the exchange
		// Or opened before the exchange that made it the log: lock looks.
		if err := d.Lock(a.Name, f); err != nil {
			return err
		}
		if err := d.Remove(a.Name); err != nil {
			return err
		}
		a.Plain = false
		repaired(a.Name)
		return nil
	case a.Compression != archive.None: // killed before the archive was removed, or before it was compressed in full
		return resolveDuplicate(d, a, f, int64(st.Size), repaired)
	case how.Compress == archive.None, st.Size > st.Blocks*512+maxHoles:
		s.unused = unusedArchive{name: a.Name}
		return nil
	case now.Sub(hostfs.Time(st.Mtime)) < how.Grace:
		s.Waiting++
		s.unused = unusedArchive{a.Name, hostfs.Time(st.Mtime).Add(how.Grace)}
		return logdir.ErrInUse
	case r.beside != nil:
		s.Waiting++
		s.toCompress = append(s.toCompress, compression{d.Path, a.Name, how.Compress, st.Size, base})
		return logdir.ErrInUse
	}
	_ = f.Close() // a second descriptor of ours would hold it
	if err := archive.Compress(ctx, d, a.Name, how.Compress); err != nil {
		if errors.Is(err, logdir.ErrInUse) {
			s.Waiting++
		}
		return err
	}
	a.Plain, a.Compression = false, how.Compress
	s.Compressed = append(s.Compressed, Archive{Path: path.Join(d.Path, a.Name+how.Compress.Suffix()), Bytes: st.Size})
	return nil
}

// recreateLog makes the log again that a run killed in the middle of exchange has
// left without a name, like its archive: not every daemon creates what it opens.
func recreateLog(d *logdir.Dir, base, archiveName string, like *os.File) error {
	var st unix.Statx_t
	if err := hostfs.Statx(d.FD, []byte(base+"\x00"), &st); !errors.Is(err, unix.ENOENT) {
		return d.PathError("stat", base, err)
	}
	part := "." + archiveName + logdir.PartSuffix
	fresh, err := d.Create(part)
	if err != nil {
		return err
	}
	defer func() { _ = fresh.Close() }()
	if err := logdir.CopyAttributes(fresh, like); err != nil {
		return errors.Join(err, d.Remove(part))
	}
	return d.Rename(part, base)
}

// resolveDuplicate keeps of an archive and its compressed form the one that is
// surely whole. A compressed form that is whole and of something else is never
// removed: the archive gets another name.
func resolveDuplicate(d *logdir.Dir, a *archive.Archived, f *os.File, size int64, repaired func(string)) error {
	name := a.Name + a.Compression.Suffix()
	z, _, err := d.OpenFile(name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = z.Close() }()
	n, sum, err := archive.Decode(z, a.Compression)
	if err == nil {
		m, want, err := archive.Decode(io.NewSectionReader(f, 0, n), archive.None)
		switch {
		case err != nil:
			return d.PathError("read", a.Name, err)
		case m != n || want != sum: // two archives of one second, both whole
			if len(path.Ext(a.Name)) != len(".")+len(archive.KubeletLayout) {
				return fmt.Errorf("%s and %s are both whole and differ: they are left as they are", path.Join(d.Path, a.Name), name)
			}
			return d.Rename(a.Name, a.Name+"000001") // seen by the next call
		case n == size:
			if err := z.Sync(); err != nil { // it may have been renamed a moment before the crash
				return d.PathError("sync", name, err)
			}
			if err := archive.RemoveCompressed(d, a.Name, f, n); err != nil {
				return err
			}
			a.Plain = false
			repaired(a.Name)
			return nil
		}
	}
	if err := d.Remove(name); err != nil {
		return err
	}
	a.Compression = archive.None
	repaired(name)
	return d.Sync()
}
