package logs

import (
	"bytes"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// list reads d again from the open fd, whose state is st.
func (t *Tree) list(fd int, d *dir, st *unix.Statx_t, now time.Time, depth int) error {
	t.Listed++
	t.relist(d)
	l := listing{tree: t, dir: d, fd: fd, depth: depth, groups: map[string]*group{}}
	if len(d.children) > 0 {
		l.was = make(map[string]*dir, len(d.children))
		for _, c := range d.children {
			t.release(c, false) // the name may be another directory's now
			l.was[string(c.name)] = c
		}
	}
	l.broken, d.broken = d.broken, nil
	if d.ino == 0 {
		d.at = t.at // what is in a new directory began after the last pass
	}
	l.since, l.settled = d.at.Add(-timestampSlack).UnixNano(), now.Add(-recentWrite).UnixNano()
	if len(d.live) > 0 {
		l.known = make(map[uint64]uint64, len(d.live))
		for i := range d.live {
			l.known[d.live[i].ino] = d.live[i].size
		}
	}
	l.earlier = make(map[string]*group, len(d.groups))
	for _, g := range d.groups {
		l.earlier[g.base] = g
		g.quiet, g.files, g.archives = 0, 0, 0
	}
	if d.owner.kind == KindContainer {
		l.whole = l.group(nil)
	}
	d.dev, d.ino, d.mtime = devno{st.Dev_major, st.Dev_minor}, st.Ino, st.Mtime
	d.racy = now.Sub(hostfs.Time(st.Mtime)) < 2*tick
	d.children, d.files, d.live = nil, 0, d.live[:0]
	for {
		n, err := unix.Getdents(fd, t.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			break
		}
		if t.Files+d.files > maxFiles {
			t.Skipped[skipTooMany]++
			break
		}
		hostfs.Dirents(t.buf[:n], l.entry)
	}
	for _, c := range l.was {
		t.release(c, true) // has no name here any more
	}
	d.groups = d.groups[:0]
	for _, g := range l.groups {
		if !g.kept {
			g.written += g.fresh
		}
		g.kept, g.fresh = false, 0
		if g.files > 0 {
			d.groups = append(d.groups, g)
		}
	}
	d.at = now
	return nil
}

// listing is the state of one list.
type listing struct {
	tree    *Tree
	dir     *dir
	fd      int
	depth   int
	was     map[string]*dir
	known   map[uint64]uint64 // size of the live files by inode, as it was
	groups  map[string]*group
	earlier map[string]*group // as they were
	whole   *group            // of a container's directory
	broken  []broken

	since   int64 // what was born later is new
	settled int64 // what was written later may be written on

	st unix.Statx_t
}

func (l *listing) group(base []byte) *group {
	g := l.groups[string(base)]
	if g != nil {
		return g
	}
	if g = l.earlier[string(base)]; g == nil {
		g = &group{base: string(base)}
	}
	if !l.keepGroup(g.base) {
		return l.group(nil)
	}
	l.groups[g.base] = g
	return g
}

// entry takes one name, with its NUL.
func (l *listing) entry(name []byte, kind byte) {
	plain := name[:len(name)-1]
	switch kind {
	case unix.DT_DIR:
		l.child(name)
		return
	case unix.DT_LNK:
		return // what it points at is counted where it lies
	}
	st := &l.st
	if err := hostfs.Statx(l.fd, name, st); err != nil {
		l.tree.Skipped[reason(err)]++
		return
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR: // a filesystem that does not fill d_type
		l.child(name)
		return
	case unix.S_IFLNK:
		return
	default:
		l.tree.Skipped[skipSpecial]++
		return
	}
	l.dir.files++
	base, old := archive.ParseName(plain)
	g := l.whole
	if g == nil {
		g = l.group(base)
	}
	g.files++
	if old {
		g.archives++
	}
	if old && checkable(plain) {
		l.unread(name, st)
		for _, b := range l.broken {
			if b.ino == st.Ino && b.name == string(plain) {
				l.dir.broken = append(l.dir.broken, b)
			}
		}
	}
	size, seen := uint64(0), false
	if l.known != nil {
		size, seen = l.known[st.Ino]
	}
	switch {
	case seen:
		g.grow(size, st.Size)
		g.kept = g.kept || !old
	case l.tree.at.IsZero() || nanos(hostfs.Born(st)) <= l.since:
		// It was there before the first pass, or was moved here.
	case !old:
		g.written += st.Size
	case len(base) > 0 && archive.SuffixLen(plain) == 0:
		g.fresh += st.Size
	}
	if old && nanos(st.Mtime) <= l.settled || !l.keepFile(name) {
		g.quiet += st.Blocks * 512
		return
	}
	f := file{name: bytes.Clone(name), group: g, past: old}
	f.take(st)
	l.dir.live = append(l.dir.live, f)
}

// nanos is a time that compares in one instruction: a full pass looks at three
// times of every file.
func nanos(t unix.StatxTimestamp) int64 { return t.Sec*1e9 + int64(t.Nsec) }

// child takes a directory, with what was known of it.
func (l *listing) child(name []byte) {
	d := l.dir
	c := l.was[string(name)]
	if c == nil {
		c = l.tree.newDir(path.Join(d.rel, string(name[:len(name)-1])), bytes.Clone(name))
	}
	if l.depth >= maxDepth || len(c.rel) >= unix.PathMax {
		l.tree.Skipped[skipDeep]++
		return
	}
	if !l.keepChild(c) {
		return
	}
	delete(l.was, string(name))
	d.children = append(d.children, c)
}
