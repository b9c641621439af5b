package containerlog

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// readStates are those of the archives made since this run began. They are for
// several goroutines.
type readStates struct {
	mu     sync.Mutex
	byPath map[string]archive.ReadState
	others map[hostfs.Inode]bool // rotated by another program, and not seen by name yet
}

func newReadStates() *readStates {
	return &readStates{byPath: map[string]archive.ReadState{}, others: map[hostfs.Inode]bool{}}
}

func (f *readStates) set(archiveName string, to archive.ReadState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byPath[archiveName] = to
}

// markUnread notes that another program gave the file at another name, before its
// reader was seen at its end.
func (f *readStates) markUnread(at hostfs.Inode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others[at] = true
}

// of returns the fate of the archive at a path; at is its file.
func (f *readStates) of(archiveName string, at hostfs.Inode) archive.ReadState {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.others[at] {
		delete(f.others, at)
		f.byPath[archiveName] = archive.StateUnread
	}
	if x, ok := f.byPath[archiveName]; ok {
		return x
	}
	return archive.StateUnknown
}

// unreadDirs adds the directories that have archives which were not read.
func (f *readStates) unreadDirs(to map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for archiveName, state := range f.byPath {
		if state == archive.StateUnread {
			to[path.Dir(archiveName)] = true
		}
	}
}

// keep forgets the archives in directories that are not kept.
func (f *readStates) keep(ok func(dir string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.byPath, func(archiveName string, _ archive.ReadState) bool { return !ok(path.Dir(archiveName)) })
}

// learnEvery is how often is looked who reads archives: it walks /proc, and
// collectors keep a file that they have read for some seconds.
const learnEvery = time.Second

// refreshReadStates fills in the fates of all, marks what is unread, and asks those who read
// an archive whose fate is not known how far they are.
func (r *finisher) refreshReadStates(ctx context.Context, d *logdir.Dir, base string, all []archive.Archived, now time.Time) error {
	type held struct {
		*archive.Archived
		at   hostfs.Inode
		size uint64
	}
	f := r.states
	var ask []held
	var errs []error
	for i := range all {
		all[i].State = archive.StateUnread // what cannot be looked at stays
	}
	for i := range all {
		a := &all[i]
		name := a.Name
		if !a.Plain {
			if a.Compression == archive.None {
				continue // it is only begun
			}
			name += a.Compression.Suffix()
		}
		file, st, err := d.OpenFile(name, unix.O_RDONLY)
		if errors.Is(err, unix.ENOENT) {
			continue // the kubelet has compressed or removed it meanwhile
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		at := hostfs.Inode{Dev: d.Dev, Ino: st.Ino}
		if a.State = f.of(path.Join(d.Path, a.Name), at); a.State == archive.StateUnknown && archive.IsUnread(file) {
			a.State = archive.StateUnread // a run before knew
			f.set(path.Join(d.Path, a.Name), archive.StateUnread)
		}
		if a.State != archive.StateUnknown {
			archive.SetUnread(file, a.State == archive.StateUnread)
		}
		if a.Plain && a.State != archive.StateRead {
			if idle, err := logdir.Probe(int(file.Fd())); err == nil && idle == logdir.UsedByReader {
				ask = append(ask, held{a, at, st.Size})
			}
		}
		_ = file.Close()
	}
	if len(ask) == 0 || now.Sub(r.learned) < learnEvery && !now.Before(r.learned) {
		return errors.Join(errs...)
	}
	r.learned = now
	var files []hostfs.Inode
	for _, h := range ask {
		files = append(files, h.at)
	}
	openers, err := r.host.Openers(ctx, base, files...)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, h := range ask {
		if _, late := logdir.FurthestBehind(openers[h.at], h.size, 0); !late && slices.ContainsFunc(openers[h.at], logdir.Opener.Reads) {
			h.State = archive.StateRead
			f.set(path.Join(d.Path, h.Name), archive.StateRead)
		}
	}
	return errors.Join(errs...)
}
