package disk

import (
	"context"
	"maps"
	"path"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fate is what is known of who has read an archive of a container's log, and so
// what may become of it.
type fate int

const (
	fateRead    fate = iota // to its end, by whoever reads the log: it may go
	fateUnknown             // it goes by number, as with the kubelet
	fateUnread              // somebody has still to read it: it stays
)

// fates are those of the archives made since this run began. They are for
// several goroutines.
type fates struct {
	mu     sync.Mutex
	byPath map[string]fate
	others map[inode]bool // rotated by somebody else, and not seen by name yet
}

func newFates() *fates { return &fates{byPath: map[string]fate{}, others: map[inode]bool{}} }

func (f *fates) set(archive string, to fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byPath[archive] = to
}

// lost notes that somebody else gave the file at another name, before whoever
// reads it was seen at its end.
func (f *fates) lost(at inode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.others[at] = true
}

// of returns the fate of the archive at a path; at is its uncompressed file, or
// zero.
func (f *fates) of(archive string, at inode) fate {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.others[at] {
		delete(f.others, at)
		f.byPath[archive] = fateUnread
	}
	if x, ok := f.byPath[archive]; ok {
		return x
	}
	return fateUnknown
}

// keep forgets the archives in directories that are not kept.
func (f *fates) keep(ok func(dir string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.DeleteFunc(f.byPath, func(archive string, _ fate) bool { return !ok(path.Dir(archive)) })
}

// learnEvery is how often is looked who reads archives: it walks /proc, and
// collectors keep a file that they have read for some seconds.
const learnEvery = time.Second

// learn fills in the fates of all, and asks those who read an archive whose fate
// is not known how far they are.
func (r *Rotator) learn(ctx context.Context, d *folder, base string, all []archived, f *fates, now time.Time) error {
	type held struct {
		*archived
		at   inode
		size uint64
	}
	var ask []held
	for i := range all {
		a := &all[i]
		if !a.plain {
			a.fate = f.of(path.Join(d.path, a.name), inode{})
			continue
		}
		file, st, err := d.file(a.name, unix.O_RDONLY)
		if err != nil {
			return err
		}
		at := inode{d.dev, st.Ino}
		if a.fate = f.of(path.Join(d.path, a.name), at); a.fate != fateRead {
			if idle, err := Probe(int(file.Fd())); err == nil && idle == Held {
				ask = append(ask, held{a, at, st.Size})
			}
		}
		_ = file.Close()
	}
	if len(ask) == 0 || now.Sub(r.learned) < learnEvery && !now.Before(r.learned) {
		return nil
	}
	r.learned = now
	var files []inode
	for _, h := range ask {
		files = append(files, h.at)
	}
	who, err := openers(ctx, r.walker, base, files...)
	if err != nil {
		return err
	}
	for _, h := range ask {
		if _, late := behind(who[h.at], h.size, 0); !late && slices.ContainsFunc(who[h.at], opener.reads) {
			h.fate = fateRead
			f.set(path.Join(d.path, h.name), fateRead)
		}
	}
	return nil
}
