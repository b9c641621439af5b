package logs

import (
	"time"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// position names one process reading one file.
type position struct {
	pid   int
	start uint64
	file  hostfs.Inode
}

// progress is how far a reader has come.
type progress struct {
	pos   uint64
	size  uint64 // of the file, when the reader last moved
	at    time.Time
	moved time.Time // when it was last seen to move, or first seen
	speed float64   // bytes per second while it had something to read
	seen  bool
}

// advance takes what is seen of a reader now and returns since when it stands
// still while its file grows, or the zero time.
func (p *progress) advance(pos, size uint64, now time.Time) (stalledSince time.Time) {
	switch {
	case p.moved.IsZero():
		p.moved, p.size = now, size
	case pos != p.pos: // also backwards: it has noticed a truncation
		// A reader that is at the end of its file is as fast as the writer,
		// which tells nothing about how fast it could be.
		if seconds := now.Sub(p.at).Seconds(); seconds > 0 && pos > p.pos {
			if v := float64(pos-p.pos) / seconds; pos < size || v > p.speed {
				p.speed = v
			}
		}
		p.moved, p.size = now, size
	}
	p.pos, p.at = pos, now
	if pos < size && size > p.size {
		return p.moved
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

// unreadLog is a log that nobody follows.
type unreadLog struct {
	since time.Time
	size  uint64 // at that time
	seen  bool
}

// Readers joins what the walk saw with the logs that the scan knows. Nothing is
// called unfollowed while nobody knows what some instance watches.
func (f *ReaderTracker) Readers(s *ProcSnapshot, trees map[string]*Tree, mounts []filesystem.Mount, policy ReadersPolicy, now time.Time) ([]Reader, []Unfollowed) {
	byInode, byWatch := logFiles(trees, mounts)
	followed := map[*logFile]bool{}
	rows := map[position]*Reader{}
	opened := map[position]hostfs.Inode{} // what a process has open, by the number that a watch shows
	row := func(p *process, at hostfs.Inode, path string, log workload.Workload, size uint64) *Reader {
		key := position{p.pid, p.start, at}
		r := rows[key]
		if r == nil {
			r = &Reader{
				PID: p.pid, Start: p.start, Comm: p.comm, Who: p.who,
				Path: path, Log: log, Device: at.Dev, Inode: at.Ino, SizeBytes: size, viaKubelet: p.kubelet,
			}
			rows[key] = r
		}
		return r
	}
	for i := range s.openings {
		o := &s.openings[i]
		x := byInode[o.file]
		if o.access != 0 || x == nil && !o.isLog(trees) || x != nil && x.kind != KindContainer && x.kind != KindFile {
			continue // it writes, it is no log, or it is mapped and has no offset (the journal)
		}
		at, log := o.path, logOf(o.path)
		if x != nil {
			at, log = x.path, x.log
			// kubectl logs -f is somebody looking, not a collector.
			followed[x] = followed[x] || !o.kubelet
		}
		r := row(o.process, o.file, at, log, o.size)
		opened[position{o.pid, o.start, hostfs.Inode{Ino: o.file.Ino}}] = o.file
		r.Open, r.Deleted = true, o.links == 0
		if r.OffsetBytes == nil || o.pos > *r.OffsetBytes {
			pos := o.pos
			r.OffsetBytes = &pos
		}
	}
	for _, w := range s.watches {
		for _, k := range w.files {
			x := byWatch[k]
			if x == nil || x.kind != KindContainer && x.kind != KindFile {
				continue
			}
			followed[x] = followed[x] || !w.kubelet
			at, ok := opened[position{w.pid, w.start, hostfs.Inode{Ino: k.ino}}]
			if !ok || byInode[at] != x {
				at = hostfs.Inode{Dev: k.sdev, Ino: k.ino}
			}
			row(w.process, at, x.path, x.log, x.file.size).Watched = true
		}
	}
	var readers []Reader
	for key, r := range rows {
		// Who has a log open for a moment, to look for something, is no collector:
		// one watches it, or has it open when we look again.
		if r.Log.Pod != "" && !r.viaKubelet && (r.Watched || f.positions[key] != nil) {
			f.Collected = true
		}
		if r.OffsetBytes != nil {
			f.measure(key, r, policy, now)
		}
		readers = append(readers, *r)
	}
	var unfollowed []Unfollowed
	if s.Unread == 0 {
		unfollowed = f.unfollowed(byInode, followed, now)
	}
	f.forget()
	return readers, unfollowed
}

// isLog reports whether what is open lies, or lay before it was deleted, in a
// log directory, so that it is a log although the scan did not remember it.
func (o *opening) isLog(trees map[string]*Tree) bool {
	if logOf(o.path) != (workload.Workload{}) {
		return true
	}
	for _, t := range trees {
		if _, ok := hostfs.Below(o.path, t.Host); ok {
			return KindOf(o.path) == KindFile
		}
	}
	return false
}

func (f *ReaderTracker) measure(key position, r *Reader, policy ReadersPolicy, now time.Time) {
	p := f.positions[key]
	if p == nil {
		p = &progress{}
		f.positions[key] = p
	}
	p.seen = true
	pos := *r.OffsetBytes
	r.LagBytes = r.SizeBytes - min(pos, r.SizeBytes)
	since := p.advance(pos, r.SizeBytes, now)
	if !since.IsZero() && now.Sub(since) >= policy.StalledAfter.D() && !r.viaKubelet {
		r.StalledSince = &since
	}
	r.PredictedLossBytes = predictedLoss(r.LagBytes, p.speed, policy.RotateWait.D())
}

// unfollowed returns the live logs of containers that nobody follows. An empty
// one has nothing to be missed.
func (f *ReaderTracker) unfollowed(byInode map[hostfs.Inode]*logFile, followed map[*logFile]bool, now time.Time) []Unfollowed {
	var all []Unfollowed
	for at, x := range byInode {
		if !x.live || followed[x] || x.file.size == 0 {
			continue
		}
		l := f.alone[at]
		if l == nil {
			l = &unreadLog{since: now, size: x.file.size}
			f.alone[at] = l
		}
		l.seen = true
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
