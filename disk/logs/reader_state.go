package logs

import (
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// position names one process reading one file.
type position struct {
	pid   int
	start uint64
	file  hostfs.Inode
}

// progress is how far a reader has come.
type progress struct {
	pos    uint64
	size   uint64 // of the file, when the reader last moved
	at     time.Time
	moved  time.Time // when it was last seen to move, or first seen
	unread time.Time // when bytes that it has not read since were first seen
	read   time.Time // the file's atime then
	speed  float64   // bytes per second while it had something to read
	seen   bool
}

// advance takes what is seen of a reader now, and returns since when bytes are
// unread of a file that grew after the reader last moved, or the zero time. Between
// two looks a reader that polls may have caught up with all that is unread now: the
// time counts from the look that saw the bytes, not from the reader's last move.
func (p *progress) advance(pos, size uint64, atime, now time.Time) (unreadSince time.Time) {
	moved := p.moved.IsZero() || pos != p.pos // also backwards: it has noticed a truncation
	// A reader that is at the end of its file is as fast as the writer,
	// which does not show how fast it could be.
	if seconds := now.Sub(p.at).Seconds(); !p.moved.IsZero() && seconds > 0 && pos > p.pos {
		if v := float64(pos-p.pos) / seconds; pos < size || v > p.speed {
			p.speed = v
		}
	}
	if moved {
		p.moved, p.size, p.unread = now, size, time.Time{}
	}
	p.pos, p.at = pos, now
	switch {
	case pos >= size:
		p.unread = time.Time{}
	case p.unread.IsZero():
		p.unread, p.read = now, atime
	}
	// pread(2) and mmap(2) leave the offset at 0: how far such a reader is, is not
	// known.
	if pos > 0 && pos < size && size > p.size {
		return p.unread
	}
	return time.Time{}
}

// predictedLoss is what is still unread after the reader went on for the
// rotate-wait with its speed.
func predictedLoss(lag uint64, speed float64, wait time.Duration) uint64 {
	read := speed * wait.Seconds()
	if float64(lag) <= read {
		return 0
	}
	return lag - uint64(read)
}

// unreadLog is a log that no process follows.
type unreadLog struct {
	since time.Time
	size  uint64    // at that time
	read  time.Time // its atime at that time
	seen  bool
}

// recency remembers what was seen for as long as it had been seen before, at most
// for a time: what was seen for two minutes is forgotten after two.
type recency struct {
	most        time.Duration
	first, last time.Time
}

func (r *recency) see(now time.Time) {
	if r.last.IsZero() || now.Sub(r.last) > r.most {
		r.first = now
	}
	r.last = now
}

func (r *recency) holds(now time.Time) bool {
	return !r.last.IsZero() && now.Sub(r.last) <= min(r.most, r.last.Sub(r.first))
}

// Readers joins what the walk saw with the logs that the scan knows. A process reads
// a log if it has the file of a log directory open, or such a file that was deleted;
// under which path the process sees it does not matter. Nothing is called unfollowed
// while the watches of some instance are not known.
func (f *ReaderTracker) Readers(s *ProcSnapshot, trees map[string]*Tree, mounts []filesystem.Mount, policy ReadersPolicy, now time.Time) ([]Reader, []Unfollowed) {
	byInode, byWatch := logFiles(trees, mounts)
	known := f.remember(s, byInode, trees)
	followed := map[*logFile]bool{}
	n := min(len(s.openings), len(known))
	rows := make(map[position]int, n) // indexes of readers
	readers := make([]Reader, 0, n)
	offsets := make([]uint64, 0, n)
	holders := make(map[hostfs.Inode]openLog, n)
	opened := map[position]hostfs.Inode{} // what a process has open, by the number that a watch shows
	watching := s.watchingProcesses()
	row := func(p *process, at hostfs.Inode, l *knownLog, size uint64) *Reader {
		key := position{p.pid, p.start, at}
		i, ok := rows[key]
		if !ok {
			i = len(readers)
			rows[key] = i
			readers = append(readers, Reader{
				PID: p.pid, Start: p.start, Comm: p.comm, Who: p.who, Interactive: p.interactive,
				Path: l.path, Log: l.log, Device: at.Dev, Inode: at.Ino, SizeBytes: size, viaKubelet: p.kubelet,
			})
		}
		return &readers[i]
	}
	for i := range s.openings {
		o := &s.openings[i]
		l, ok := known[o.file]
		if o.access != unix.O_RDONLY || !ok || l.kind != KindContainer && l.kind != KindFile {
			continue // it writes, it is no log, or it is mapped and has no offset (the journal)
		}
		if x := byInode[o.file]; x != nil {
			followed[x] = followed[x] || o.collects()
		}
		r := row(o.process, o.file, l, o.size)
		if watching[o.pid] {
			opened[position{o.pid, o.start, hostfs.Inode{Ino: o.file.Ino}}] = o.file
		}
		holders[o.file] = openLog{holders[o.file].processes + 1, o.atime}
		r.Open, r.Deleted = true, o.links == 0
		if r.OffsetBytes == nil || o.pos > *r.OffsetBytes {
			offsets = append(offsets, o.pos)
			r.OffsetBytes = &offsets[len(offsets)-1]
		}
	}
	for _, w := range s.watches {
		for _, k := range w.files {
			x := byWatch[k]
			if x == nil || x.kind != KindContainer && x.kind != KindFile {
				continue
			}
			followed[x] = followed[x] || w.collects()
			at, ok := opened[position{w.pid, w.start, hostfs.Inode{Ino: k.Ino}}]
			if !ok || byInode[at] != x {
				at = hostfs.Inode{Dev: k.SDev, Ino: k.Ino}
			}
			row(w.process, at, &x.knownLog, x.file.size).Watched = true
		}
	}
	for i := range readers {
		r := &readers[i]
		key := position{r.PID, r.Start, hostfs.Inode{Dev: r.Device, Ino: r.Inode}}
		// A process that has a log open for a moment, to look for something, is no
		// collector: that one watches it, or has it open at the next look.
		if r.Log.Pod != "" && r.Collects() && (r.Watched || f.positions[key] != nil) {
			f.collected.see(now)
		}
		if r.OffsetBytes != nil {
			h := holders[key.file]
			f.measure(key, r, h.atime, h.processes == 1, policy, now)
		}
	}
	var unfollowed []Unfollowed
	if s.Unread == 0 && !s.bound.full {
		unfollowed = f.unfollowed(byInode, followed, now)
	}
	f.forget()
	return readers, unfollowed
}

// openLog is a log that is open to be read.
type openLog struct {
	processes int
	atime     time.Time
}

// watchingProcesses returns the pids of the processes that watch something.
func (s *ProcSnapshot) watchingProcesses() map[int]bool {
	all := map[int]bool{}
	for _, w := range s.watches {
		all[w.pid] = true
	}
	return all
}

// maxChecks bounds how many paths one walk looks up.
const maxChecks = 1000

// remember returns the files that were seen in a log directory: those that are there
// now, and of those before the ones that a process still has open.
func (f *ReaderTracker) remember(s *ProcSnapshot, byInode map[hostfs.Inode]*logFile, trees map[string]*Tree) map[hostfs.Inode]*knownLog {
	known := make(map[hostfs.Inode]*knownLog, len(byInode))
	for at, x := range byInode {
		known[at] = &x.knownLog
	}
	checks := 0
	for i := range s.openings {
		o := &s.openings[i]
		if _, ok := known[o.file]; ok {
			continue
		}
		if l, ok := f.known[o.file]; ok {
			alone := *l // without what was allocated with it
			known[o.file] = &alone
			continue
		}
		if o.links == 0 || o.access != unix.O_RDONLY || f.IsFile == nil || checks >= maxChecks {
			continue
		}
		s.lookUp(o)
		for _, t := range trees {
			if _, ok := hostfs.Below(o.path, t.Host); !ok {
				continue
			}
			checks++
			if f.IsFile(t.Host, o.path, o.file) {
				owner := ownerOf(t.Pods, t.Docker, path.Dir(o.path))
				known[o.file] = &knownLog{o.path, owner.Workload, owner.kind}
			}
			break
		}
	}
	f.known = known
	return known
}

func (f *ReaderTracker) measure(key position, r *Reader, atime time.Time, only bool, policy ReadersPolicy, now time.Time) {
	p := f.positions[key]
	if p == nil {
		p = &progress{}
		f.positions[key] = p
	}
	p.seen = true
	pos := *r.OffsetBytes
	r.LagBytes = r.SizeBytes - min(pos, r.SizeBytes)
	since := p.advance(pos, r.SizeBytes, atime, now)
	if !since.IsZero() && only && atime.After(p.read) {
		// The file was read, and no other process has it open: this one reads it
		// with pread(2), which does not move the offset.
		p.unread, p.read = now, atime
		since = now
	}
	if !since.IsZero() && now.Sub(since) >= policy.StalledAfter.D() && r.Collects() {
		r.StalledSince = &since
	}
	r.PredictedLossBytes = predictedLoss(r.LagBytes, p.speed, policy.RotateWait.D())
}

// unfollowed returns the live logs of containers that no collector has open or
// watches. An empty one has nothing to be missed. One that was read since it was
// last written, or since the last look, has a reader that opens and closes it: under
// relatime a read after a write moves the atime (mount(8)).
func (f *ReaderTracker) unfollowed(byInode map[hostfs.Inode]*logFile, followed map[*logFile]bool, now time.Time) []Unfollowed {
	var all []Unfollowed
	for at, x := range byInode {
		if !x.live || followed[x] || x.file.size == 0 {
			continue
		}
		l := f.alone[at]
		if l == nil {
			l = &unreadLog{since: now, size: x.file.size, read: x.file.atime}
			f.alone[at] = l
		}
		l.seen = true
		if !x.file.unread && !x.file.atime.Before(x.file.mtime) || x.file.atime.After(l.read) {
			l.since, l.size, l.read = now, x.file.size, x.file.atime
			continue
		}
		since := l.since
		all = append(all, Unfollowed{
			Workload: x.log, Path: x.path, Inode: at.Ino, SizeBytes: x.file.size,
			GrewBytes: x.file.size - min(l.size, x.file.size), Since: &since,
		})
	}
	return all
}

// forget drops what this pass has not seen.
func (f *ReaderTracker) forget() {
	for k, c := range f.instances {
		if !c.seen {
			delete(f.instances, k)
		}
		c.seen = false
	}
	for k, p := range f.positions {
		if !p.seen {
			delete(f.positions, k)
		}
		p.seen = false
	}
	for k, l := range f.alone {
		if !l.seen {
			delete(f.alone, k)
		}
		l.seen = false
	}
}
