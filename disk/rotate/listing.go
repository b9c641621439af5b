package rotate

import (
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// listing is an open directory, listed once for all of its logs.
type listing struct {
	dir *logdir.Dir
	*content
}

// content is what a directory has. It is remembered for as long as the directory does
// not change.
type content struct {
	names    []string
	locked   map[string]bool // the logs with a lock file
	archives map[string][]archive.Archived
	matched  map[string][]string // by pattern, the logs that match
	// settled are archives that no process has open, with the time until which nothing is
	// due; zero: ever.
	settled map[settledArchive]time.Time

	at           hostfs.Inode
	mtime, ctime unix.StatxTimestamp
	listed       time.Time
	trusted      bool // a change of the directory shows in its times
}

// settledArchive is an archive under a rule.
type settledArchive struct {
	name     string
	compress archive.Compression
	grace    time.Duration
}

// maxListingAge is how long a listing is used that shows no change: as long as
// disk.fullScanEvery is by default.
const maxListingAge = 5 * time.Minute

// coarsestTimestamp is twice the step of the times of ext3, the coarsest of the
// filesystems in localFilesystems: a directory that changed less than that before it
// was listed may change again without another mtime.
const coarsestTimestamp = 2 * time.Second

// localFilesystems are those that only this kernel changes, statfs(2): each change of
// a directory shows in its times.
var localFilesystems = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true,
	unix.F2FS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true, 0x2fc12fc1: true, // ZFS
}

func readContent(d *logdir.Dir) (*content, error) {
	var st unix.Statx_t
	var fs unix.Statfs_t
	listed := time.Now()
	if err := hostfs.Statx(d.FD, hostfs.Self, &st); err != nil { // before the names are read: what changes meanwhile is seen
		return nil, d.PathError("stat", "", err)
	}
	if err := unix.Fstatfs(d.FD, &fs); err != nil {
		return nil, d.PathError("statfs", "", err)
	}
	names, err := d.Names()
	if err != nil {
		return nil, err
	}
	c := &content{
		names: names, locked: map[string]bool{}, archives: archive.Group(names),
		matched: map[string][]string{}, settled: map[settledArchive]time.Time{},
		at: inodeOf(&st), mtime: st.Mtime, ctime: st.Ctime, listed: listed,
		trusted: localFilesystems[int64(fs.Type)] && listed.Sub(hostfs.Time(st.Ctime)) > coarsestTimestamp, //nolint:unconvert // it is an int32 on 32-bit machines
	}
	for _, n := range names {
		if base, ok := strings.CutSuffix(n, logdir.LockSuffix); ok && n[0] == '.' {
			c.locked[base[1:]] = true
		}
	}
	return c, nil
}

// unchanged reports whether d is the directory that c was read from, and has the same
// names.
func (c *content) unchanged(d *logdir.Dir) bool {
	var st unix.Statx_t
	age := time.Since(c.listed)
	return c.trusted && age >= 0 && age < maxListingAge &&
		hostfs.Statx(d.FD, hostfs.Self, &st) == nil && inodeOf(&st) == c.at && st.Mtime == c.mtime && st.Ctime == c.ctime
}

// logs returns the names that match a pattern of path.Match, without archives. A log that
// is not there, but has archives, is one of them: they still expire.
func (c *content) logs(pattern string) []string {
	if all, ok := c.matched[pattern]; ok {
		return all
	}
	there := make(map[string]bool, len(c.names))
	for _, n := range c.names {
		there[n] = true
	}
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(c.archives)), func(base string) bool { return there[base] })
	var all []string
	for _, n := range slices.Concat(c.names, missing) {
		if ok, err := path.Match(pattern, n); !ok || err != nil || n[0] == '.' && pattern[0] != '.' {
			continue
		}
		if _, old := archive.ParseName([]byte(n)); !old {
			all = append(all, n)
		}
	}
	c.matched[pattern] = all
	return all
}

// listings are the directories of one pass, by path. remembered are those of the pass
// before.
type listings struct {
	open       map[string]*listing
	remembered map[string]*content
}

func (l listings) list(host *logdir.Host, dir string) (*listing, error) {
	if in := l.open[dir]; in != nil {
		return in, nil
	}
	d, err := host.Open(dir)
	if err != nil {
		delete(l.remembered, dir)
		return nil, err
	}
	c := l.remembered[dir]
	if c == nil || !c.unchanged(d) {
		if c, err = readContent(d); err != nil {
			d.Close()
			return nil, err
		}
		l.remembered[dir] = c
	}
	l.open[dir] = &listing{d, c}
	return l.open[dir], nil
}

func (l listings) forget(dir string) {
	delete(l.remembered, dir)
	if in := l.open[dir]; in != nil {
		in.dir.Close()
		delete(l.open, dir)
	}
}

// close closes the directories, and forgets what the pass did not use.
func (l listings) close() {
	maps.DeleteFunc(l.remembered, func(dir string, _ *content) bool { return l.open[dir] == nil })
	for _, in := range l.open {
		in.dir.Close()
	}
}

func inodeOf(st *unix.Statx_t) hostfs.Inode {
	return hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
}
