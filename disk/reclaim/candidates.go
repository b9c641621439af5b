package reclaim

import (
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// maxCandidates bounds what one inventory remembers.
const maxCandidates = 100_000

// candidates lists what on the device dev could be reclaimed: by names and sizes
// below the log directories, and by what the last look at the host found.
func (r *Reclaimer) candidates(u Input, dev uint64) ([]Candidate, error) {
	var all []Candidate
	add := func(c Candidate) {
		if len(all) < maxCandidates {
			all = append(all, c)
		}
	}
	pods, over := u.Kubelet.PodLogs, u.overBudget()
	read, managed := readUpTo(u.Readers), sync.OnceValues(r.Logrotate)
	for _, top := range append(slices.Clone(r.policy.LogPaths), CoreDumpDirs...) {
		err := r.host.Rootfs.Walk(top, func(dir, name string, st *unix.Statx_t) {
			if unix.Mkdev(st.Dev_major, st.Dev_minor) != dev || st.Mode&unix.S_IFMT != unix.S_IFREG {
				return
			}
			c := Candidate{
				Path: path.Join(dir, name), Bytes: st.Blocks * 512, At: hostfs.Time(st.Mtime),
				inode: hostfs.Inode{Dev: dev, Ino: st.Ino},
			}
			if c.Class, c.Log = classOf(dir, name, pods); c.Class == "" {
				if mayBeLog(dir, name, pods) {
					if c, ok := r.activeLog(c, st, read, managed); ok {
						add(c)
					}
				}
				return
			}
			if c.Class == ClassOtherArchives && logs.IsContainerDir(pods, dir) && !over[dir] {
				return
			}
			if c.Class == ClassArchives || c.Class == ClassRotated {
				unread := c
				unread.Class = ClassUnread
				add(unread)
			}
			add(c)
		})
		if err != nil {
			return all, err
		}
	}
	if c, ok := ReadCoreDir(r.host.Procfs); ok && logs.KindOf(c.Dir) != logs.KindCore {
		c.Each(r.host.Rootfs, func(name string, st *unix.Statx_t) {
			if unix.Mkdev(st.Dev_major, st.Dev_minor) == dev {
				add(Candidate{Class: ClassCores, Path: path.Join(c.Dir, name), Bytes: st.Blocks * 512, At: hostfs.Time(st.Mtime), inode: hostfs.Inode{Dev: dev, Ino: st.Ino}})
			}
		})
	}
	for _, o := range u.Orphans {
		if on, err := r.host.Rootfs.DeviceNumber(o.Path); err == nil && on == dev {
			add(Candidate{Class: ClassOrphans, Path: o.Path, Bytes: o.Bytes, At: o.Modified})
		}
	}
	for _, d := range u.Deleted {
		if c, ok := r.deletedFile(d); ok && d.Device == dev {
			add(c)
		}
	}
	return all, nil
}

// classOf says by its name what a file is, and the log it belongs to. What is
// not surely one of the classes is none.
func classOf(dir, name, pods string) (c Class, log string) {
	kind := logs.KindOf(dir)
	switch {
	case name == ballastName:
		return ClassBallast, ""
	case kind == logs.KindJournal:
		// system@….journal is archived, system.journal~ was found broken, and
		// system.journal is being written.
		if strings.HasSuffix(name, ".journal~") || strings.Contains(name, "@") && strings.HasSuffix(name, ".journal") {
			return ClassJournal, ""
		}
		return "", ""
	case kind == logs.KindCore:
		return ClassCores, ""
	}
	base, old := archive.ParseName([]byte(name))
	if !old || len(base) == 0 || strings.Contains(dir, "/audit") {
		return "", ""
	}
	log = path.Join(dir, string(base))
	n := archive.SuffixLen([]byte(name))
	rest := strings.TrimPrefix(name[:len(name)-n], string(base)+".")
	_, stamped := archive.ParseTimestamp(rest)
	_, inPod := workload.ParseLogPath(path.Join(dir, name))
	switch ours := stamped && len(rest) == len(archive.TimestampLayout)-1 && !inPod && !logs.IsContainerDir(pods, dir); {
	case ours && n > 0:
		return ClassArchives, log
	case ours:
		return ClassRotated, log
	case n > 0 && len(base) < len(name)-n: // a number or a date beside the ending
		return ClassOtherArchives, log
	}
	return "", "" // somebody else's, and they may want to compress it themselves
}

// activeLog returns c as an oversized log that is being written, if it is one. What a
// rotation of the policy names is rotated before its time. Of any other, which
// nobody rotates, goes what has been read: a hole changes neither its size nor
// where its writer and its readers are, while a log that is cut makes readers
// begin again. Logs of containers are rotated through their runtime, see Bursts,
// and those of logrotate are its own.
func (r *Reclaimer) activeLog(c Candidate, st *unix.Statx_t, read map[hostfs.Inode]uint64, logrotate func() (func(string) bool, error)) (Candidate, bool) {
	if c.Bytes < uint64(r.policy.Policy.LiveSize) {
		return Candidate{}, false
	}
	if managed, err := logrotate(); err != nil || managed(c.Path) {
		return Candidate{}, false
	}
	c.Class = ClassActiveLogs
	if _, c.rule = rotate.RuleFor(r.policy.Rotations, c.Path); !c.rule {
		c.below, c.Bytes = punchable(st.Size, c.Bytes, read[c.inode])
	}
	return c, c.Bytes > 0
}

// readUpTo says of each file up to where all its readers are; 0 where that is
// not known of one.
func readUpTo(all []logs.Reader) map[hostfs.Inode]uint64 {
	read := map[hostfs.Inode]uint64{}
	for _, x := range all {
		at, offset := hostfs.Inode{Dev: x.Device, Ino: x.Inode}, uint64(0)
		if x.OffsetBytes != nil {
			offset = *x.OffsetBytes
		}
		if was, ok := read[at]; ok {
			offset = min(offset, was)
		}
		read[at] = offset
	}
	return read
}

// mayBeLog reports whether the file may be a log of lines that is being written:
// no archive, no journal, no dump, no log of a container, and no audit log.
func mayBeLog(dir, name, pods string) bool {
	_, old := archive.ParseName([]byte(name))
	_, inPod := hostfs.Below(dir, pods)
	return !old && !inPod && logs.KindOf(dir) == logs.KindFile && !strings.Contains(dir, "/audit")
}

// deletedFile returns what of a deleted file can be given back: what lies below
// every reader's offset, less a margin. Only of a log, and only where all that
// hold it read; whoever writes has an offset, too, but not one that says what
// was read.
func (r *Reclaimer) deletedFile(d logs.Deleted) (Candidate, bool) {
	log := false
	for _, top := range r.policy.LogPaths {
		_, ok := hostfs.Below(d.Path, top)
		log = log || ok
	}
	if !log || len(d.Holders) == 0 || d.Incomplete {
		return Candidate{}, false
	}
	below := d.Size
	for _, h := range d.Holders {
		if h.Writes {
			return Candidate{}, false
		}
		below = min(below, h.OffsetBytes)
	}
	below, frees := punchable(d.Size, d.Bytes, below)
	return Candidate{
		Class: ClassDeleted, Path: d.Path, Bytes: frees, inode: hostfs.Inode{Dev: d.Device, Ino: d.Inode},
		holder: &d.Holders[0], below: below,
	}, frees > 0
}

// punchable returns up to where a file may be punched that has been read up to
// read, and how much of its allocated bytes that frees: where a hole is already
// there is nothing left to free.
func punchable(size, allocated, read uint64) (below, frees uint64) {
	const page = 64 << 10 // a multiple of every block size
	below = (read - min(read, logdir.ReadMargin)) / page * page
	frees = allocated - min(allocated, size-min(size, below))
	if frees < page {
		return below, 0 // the rest of a block, or what the filesystem has for growth
	}
	return below, frees
}
