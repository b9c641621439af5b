package disk

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fates are those of the archives made since this run began. They are for
// several goroutines.
type fates struct {
	mu     sync.Mutex
	byPath map[string]fate
	others map[inode]bool // rotated by somebody else, and not seen by name yet
}

func newFates() *fates { return &fates{byPath: map[string]fate{}, others: map[inode]bool{}} }

func (f *fates) set(archiveName string, to fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byPath[archiveName] = to
}

// lost notes that somebody else gave the file at another name, before whoever
// reads it was seen at its end.
func (f *fates) lost(at inode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others[at] = true
}

// of returns the fate of the archive at a path; at is its file.
func (f *fates) of(archiveName string, at inode) fate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.others[at] {
		delete(f.others, at)
		f.byPath[archiveName] = fateUnread
	}
	if x, ok := f.byPath[archiveName]; ok {
		return x
	}
	return fateUnknown
}

// keep forgets the archives in directories that are not kept.
func (f *fates) keep(ok func(dir string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.byPath, func(archiveName string, _ fate) bool { return !ok(path.Dir(archiveName)) })
}

// learnEvery is how often is looked who reads archives: it walks /proc, and
// collectors keep a file that they have read for some seconds.
const learnEvery = time.Second

// learn fills in the fates of all, marks what is unread, and asks those who read
// an archive whose fate is not known how far they are.
func (r *finisher) learn(ctx context.Context, d *folder, base string, all []archived, now time.Time) error {
	type held struct {
		*archived
		at   inode
		size uint64
	}
	f := r.fates
	var ask []held
	var errs []error
	for i := range all {
		all[i].fate = fateUnread // what cannot be looked at stays
	}
	for i := range all {
		a := &all[i]
		name := a.name
		if !a.plain {
			if a.comp == None {
				continue // it is only begun
			}
			name += a.comp.ending()
		}
		file, st, err := d.file(name, unix.O_RDONLY)
		if errors.Is(err, unix.ENOENT) {
			continue // the kubelet has compressed or removed it meanwhile
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		at := inode{dev: d.dev, ino: st.Ino}
		if a.fate = f.of(path.Join(d.path, a.name), at); a.fate == fateUnknown && marked(file) {
			a.fate = fateUnread // a run before knew
			f.set(path.Join(d.path, a.name), fateUnread)
		}
		if a.fate != fateUnknown {
			mark(file, a.fate == fateUnread)
		}
		if a.plain && a.fate != fateRead {
			if idle, err := Probe(int(file.Fd())); err == nil && idle == Held {
				ask = append(ask, held{a, at, st.Size})
			}
		}
		_ = file.Close()
	}
	if len(ask) == 0 || now.Sub(r.learned) < learnEvery && !now.Before(r.learned) {
		return errors.Join(errs...)
	}
	r.learned = now
	var files []inode
	for _, h := range ask {
		files = append(files, h.at)
	}
	who, err := r.host.openers(ctx, base, files...)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, h := range ask {
		if _, late := behind(who[h.at], h.size, 0); !late && slices.ContainsFunc(who[h.at], Holder.reads) {
			h.fate = fateRead
			f.set(path.Join(d.path, h.name), fateRead)
		}
	}
	return errors.Join(errs...)
}
