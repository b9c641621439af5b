package logs

import (
	"bytes"
	"errors"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// Tree is what is known of one directory of logs. A rotated file does not
// change any more, so a pass lists only the directories whose mtime has moved
// and asks the live files for their size; everything else is remembered.
//
// A writer that goes on with a rotated file moves no directory's mtime, so
// every directory is listed now and then all the same.
type Tree struct {
	Host   string // the path of the top, as the host sees it
	Pods   string // where the kubelet keeps containers' logs, for example /var/log/pods
	Docker string // where Docker keeps containers
	top    *dir
	Mount  int       // the id of the mount it lies on, 0 where that is not known
	at     time.Time // of the last pass
	buf    []byte    // for getdents64
	st     unix.Statx_t

	Keep    int // how many directories of containers may stay open
	kept    int
	queue   []unread
	live    int // live files of all directories
	Listed  int
	Files   int
	Dirs    int
	Skipped map[string]int
	budget  budget
	others  int64 // the budget's use of what does not lead to the pods' logs
}

// dir is one directory, as it was when it was last listed.
type dir struct {
	rel      string // below the top; "" for the top
	path     string // as the host sees it
	owner    owner
	name     []byte // in its parent, with its NUL
	children []*dir
	groups   []*group
	live     []file

	dev   devno
	ino   uint64
	mtime unix.StatxTimestamp
	racy  bool      // it was listed within a tick of its last change
	at    time.Time // of the pass that listed it
	files int       // in it, whatever they are
	other bool      // it is the top of another tree, see MarkOverlaps

	kept    int64 // bytes of the budget that its content takes
	refused int   // directories in it that are not kept
	summed  int   // logs in it that are not kept by name

	fd      int   // kept open between passes; 0 is none
	checked int64 // archives whose ctime is not after it were read
	broken  []broken
}

type devno struct{ major, minor uint32 }

// group is a log with its archives: what one producer writes in a directory.
// Everything of a container's directory is one group.
type group struct {
	base     string // the name of the live log; "" for a whole directory
	quiet    uint64 // allocated bytes of the files that are not asked again
	files    int
	archives int
	written  uint64 // since the first pass

	// While listing: a live file is still the one it was, and the bytes of
	// archives that no pass saw before. Archives that appear beside a live log that
	// was kept are copies of it (copytruncate); where the log was replaced they
	// are logs that began and were rotated since the last pass.
	kept  bool
	fresh uint64
}

// file is a live file: one that may still grow.
type file struct {
	name   []byte // with its NUL
	group  *group
	ino    uint64
	size   uint64
	blocks uint64 // allocated bytes
	mtime  time.Time
	atime  time.Time // of the last read, as relatime keeps it
	unread bool      // atime is still the time the file was made
	past   bool      // it has the name of an archive, but was written of late
}

func (f *file) String() string { return string(f.name[:len(f.name)-1]) }

// Bounds of what a pass remembers and does, so that a directory full of names
// cannot take the node's memory. A node of 250 pods has about 1,000 live files.
const (
	maxLive  = 50_000
	maxDirs  = 200_000
	maxFiles = 2_000_000
	maxDepth = 64

	// tick is the coarsest mtime of a filesystem that carries logs: ext3 and
	// others without room for nanoseconds keep seconds.
	tick = time.Second
	// timestampSlack is how far the time a file gets stamped with may lie behind the
	// clock: one timer interrupt, CONFIG_HZ=100 being the slowest in use.
	timestampSlack = 10 * time.Millisecond
	// recentWrite is how long ago an archive must have been written to be left
	// alone: a daemon that reopens late writes on for seconds.
	recentWrite = time.Minute
)

// Reasons why something was skipped; keys of Scan.Skipped.
const (
	skipGone    = "gone"     // it went away during the pass, which is normal
	skipDenied  = "denied"   // EACCES: CAP_DAC_READ_SEARCH is missing
	skipEscape  = "escape"   // a link, a mount point or a path out of the root
	skipTooMany = "too_many" // beyond the bounds above
	skipDeep    = "too_deep" // beyond 4096 bytes of path or 64 directories
	skipError   = "error"    // anything else, for example EIO
	skipSpecial = "special"  // FIFO, socket or device
)

func reason(err error) string {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return skipGone
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return skipDenied
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV):
		return skipEscape
	case errors.Is(err, unix.ENAMETOOLONG):
		return skipDeep
	}
	return skipError
}

func (t *Tree) newDir(rel string, name []byte) *dir {
	at := path.Join(t.Host, rel)
	if rel != "" {
		rel = at[len(at)-len(rel):] // one copy of what may be 4 kB
	}
	return &dir{rel: rel, name: name, path: at, owner: ownerOf(t.Pods, t.Docker, at)}
}

// outOfResources reports whether we could not look, rather than nothing was there.
func outOfResources(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// Update brings t up to date. With full every directory is listed again.
func (t *Tree) Update(rootfs hostfs.Root, now time.Time, full bool) error {
	t.live, t.Listed, t.Files, t.Dirs = 0, 0, 0, 0
	t.Skipped = map[string]int{}
	t.budget, t.others = budget{most: treeBytes}, 0
	if full {
		t.queue = t.queue[:0] // all that is missing is found again
	}
	top, err := rootfs.OpenDir(t.Host, unix.O_RDONLY)
	if err != nil {
		t.Close()
		return &os.PathError{Op: "open", Path: t.Host, Err: err}
	}
	defer func() { _ = unix.Close(top) }()
	t.Mount = filesystem.MountID(top)
	if t.top == nil {
		t.top = t.newDir("", nil)
	}
	if t.buf == nil {
		t.buf = make([]byte, 64<<10)
	}
	if !t.visit(top, hostfs.Self, t.top, now, full, 0) {
		t.Close()
	}
	t.at = now
	return nil
}

// Close forgets everything.
func (t *Tree) Close() {
	if t.top != nil {
		t.release(t.top, true)
	}
	t.top = nil
}

// release closes d, and with all what is below it.
func (t *Tree) release(d *dir, all bool) {
	if d.fd > 0 {
		_ = unix.Close(d.fd)
		d.fd = 0
		t.kept--
	}
	if all {
		for _, c := range d.children {
			t.release(c, true)
		}
	}
}

// retain keeps fd open as that of d, where d is a container's directory: its
// live log is asked in every pass, and opening its directory costs more than
// all else about it. Nothing else is kept open, so that a filesystem below
// /var/log can be unmounted while nodetune runs.
func (t *Tree) retain(d *dir, fd int) {
	if t.kept < t.Keep && len(d.live) > 0 && d.owner.kind == KindContainer {
		d.fd = fd
		t.kept++
	}
}

// visit brings d and all below it up to date. It is at path, which ends with
// its NUL, below the open directory base. It reports whether d is still there.
func (t *Tree) visit(base int, path []byte, d *dir, now time.Time, full bool, depth int) bool {
	if t.Dirs++; t.Dirs > maxDirs || t.Files > maxFiles {
		t.Skipped[skipTooMany]++
		return true
	}
	if !t.enter(d) {
		return true
	}
	known := !full && d.ino != 0 && !d.racy
	if known && len(d.live) == 0 && len(d.children) == 1 && len(path) > 1 && !bytes.ContainsRune(path, '/') {
		// A pod's directory with one container's directory: one call instead of
		// four shows that nothing changed. The call does not follow a link of
		// this single name, so it cannot leave the directory.
		if err := hostfs.Statx(base, path, &t.st); err == nil && d.same(&t.st) {
			t.Files += d.files
			below := append(append(make([]byte, 0, 512), path[:len(path)-1]...), '/')
			t.descend(d, func(c *dir) bool { return t.visit(base, append(below, c.name...), c, now, full, depth+1) })
			return true
		}
	}
	fd, err := t.readDir(base, path, d, known, now, depth)
	if err != nil {
		t.Skipped[reason(err)]++
		return outOfResources(err) // then what was known of it is better than nothing
	}
	t.live += len(d.live)
	t.Files += d.files
	t.descend(d, func(c *dir) bool { return t.visit(fd, c.name, c, now, full, depth+1) })
	if fd != d.fd {
		_ = unix.Close(fd)
	}
	return true
}

// readDir opens d, and asks its live files or lists it, whatever is needed.
func (t *Tree) readDir(base int, path []byte, d *dir, known bool, now time.Time, depth int) (fd int, err error) {
	if known && d.fd > 0 {
		if err = hostfs.Statx(d.fd, hostfs.Self, &t.st); err == nil && d.same(&t.st) && t.refresh(d.fd, d) {
			return d.fd, nil
		}
	}
	t.release(d, false)
	if known {
		// O_PATH takes no permission on the directory and does not read it.
		if fd, err = hostfs.OpenBeneath(base, path, unix.O_PATH); err != nil {
			return -1, err
		}
		if err = hostfs.Statx(fd, hostfs.Self, &t.st); err == nil && d.same(&t.st) && t.refresh(fd, d) {
			t.retain(d, fd)
			return fd, nil
		}
		_ = unix.Close(fd)
	}
	if fd, err = hostfs.OpenBeneath(base, path, unix.O_RDONLY); err != nil {
		return -1, err
	}
	if err = hostfs.Statx(fd, hostfs.Self, &t.st); err == nil {
		err = t.list(fd, d, &t.st, now, depth)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	t.retain(d, fd)
	return fd, nil
}

// same reports whether st is that of d, unchanged since it was listed.
func (d *dir) same(st *unix.Statx_t) bool { return d.ino == st.Ino && d.mtime == st.Mtime }

// descend visits the children of d and drops those that are gone.
func (t *Tree) descend(d *dir, visit func(*dir) bool) {
	kept := d.children[:0]
	for _, c := range d.children {
		a := t.share(d, c)
		still := visit(c)
		t.restore(a)
		if still {
			kept = append(kept, c)
		} else {
			t.release(c, true)
		}
	}
	clear(d.children[len(kept):])
	d.children = kept
}

// refresh asks the live files of d for their size. It reports false where one
// is not the file it was, and d must be listed.
func (t *Tree) refresh(fd int, d *dir) bool {
	for i := range d.live {
		f := &d.live[i]
		if err := hostfs.Statx(fd, f.name, &t.st); err != nil || t.st.Ino != f.ino {
			return false
		}
		f.group.grow(f.size, t.st.Size)
		f.take(&t.st)
	}
	return true
}

func (f *file) take(st *unix.Statx_t) {
	f.ino, f.size, f.blocks = st.Ino, st.Size, st.Blocks*512
	f.mtime, f.atime = hostfs.Time(st.Mtime), hostfs.Time(st.Atime)
	f.unread = f.atime.Equal(hostfs.Time(hostfs.Born(st)))
}

// grow counts what was written to a file that had before bytes and now has
// after. A file that shrank was truncated and written from its beginning.
func (g *group) grow(before, after uint64) {
	if after >= before {
		g.written += after - before
	} else {
		g.written += after
	}
}

// MaxOpenDirs is how many directories a tree may keep open: more than a node of
// 250 pods has, and a quarter of what this process may open.
func MaxOpenDirs() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return int(min(1024, r.Cur/4))
}
