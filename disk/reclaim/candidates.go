package reclaim

import (
	"path"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// maxCandidates bounds what one inventory remembers.
const maxCandidates = 100_000

// candidates lists what on the filesystem with this device could be reclaimed:
// what the files below the log directories and the mounts in them are, by place,
// name and content, and what the last look at the host found.
func (r *Reclaimer) candidates(u Input, device string, mounts []filesystem.Mount) ([]Candidate, error) {
	var all []Candidate
	seen := map[hostfs.Inode]bool{} // a directory may have two paths
	add := func(c Candidate) {
		if len(all) < maxCandidates {
			all = append(all, c)
		}
	}
	pods, over := u.Kubelet.PodLogs, u.overBudget()
	read, managed := readUpTo(u.Readers), sync.OnceValues(r.Logrotate)
	content := inspector{host: r.host.Rootfs, rotations: r.policy.Rotations, logrotate: managed}
	defer content.close()
	for _, top := range r.roots(pods, mounts) {
		if filesystem.Device(r.host.Rootfs, top, mounts) != device {
			continue
		}
		var at place
		err := r.host.Rootfs.Walk(top, func(dir, name string, st *unix.Statx_t) {
			if at.dir != dir {
				at = placeOf(dir, pods)
			}
			inode := hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
			if st.Mode&unix.S_IFMT != unix.S_IFREG || seen[inode] {
				return
			}
			c := Candidate{Path: path.Join(dir, name), Bytes: st.Blocks * 512, At: hostfs.Time(st.Mtime), inode: inode}
			if c.Class, c.Log = classOf(at, name); c.Class == "" {
				if mayBeLog(at, name) {
					if c, ok := r.activeLog(c, st, read, managed); ok {
						seen[inode] = true
						add(c)
					}
				}
				return
			}
			if c.Class == ClassOtherArchives && at.container && !over[dir] {
				return
			}
			classes := content.classes(&c, at, name, st)
			seen[inode] = len(classes) > 0
			for _, class := range classes {
				c.Class = class
				add(c)
			}
		})
		if err != nil {
			return all, err
		}
	}
	if c, ok := ReadCoreDir(r.host.Procfs); ok && filesystem.Device(r.host.Rootfs, c.Dir, mounts) == device {
		c.Each(r.host.Rootfs, func(name string, st *unix.Statx_t) {
			inode := hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
			if !seen[inode] && !logs.IsContainerDir(pods, c.Dir) {
				add(Candidate{Class: ClassCores, Path: path.Join(c.Dir, name), Bytes: st.Blocks * 512, At: hostfs.Time(st.Mtime), inode: inode})
			}
		})
	}
	for _, o := range u.Orphans {
		if filesystem.Device(r.host.Rootfs, o.Path, mounts) == device {
			add(Candidate{Class: ClassOrphans, Path: o.Path, Bytes: o.Bytes, At: o.Modified})
		}
	}
	for _, d := range u.Deleted {
		if c, ok := deletedFile(d); ok && d.FSDevice == device {
			add(c)
		}
	}
	return all, nil
}

// roots returns the directories to walk: the log directories, where the kubelet
// keeps containers' logs, core dumps, and the mounts below them.
func (r *Reclaimer) roots(pods string, mounts []filesystem.Mount) []string {
	var places []filesystem.Place
	for _, p := range append(slices.Clone(r.policy.LogPaths), pods) {
		places = append(places, filesystem.Place{Path: p, Role: filesystem.RoleLogs})
	}
	dirs := slices.Clone(CoreDumpDirs)
	for _, p := range filesystem.WithMountsBelow(r.host.Rootfs, places, mounts, nil) {
		dirs = append(dirs, p.Path)
	}
	return filesystem.Roots(r.host.Rootfs, dirs, mounts)
}

// activeLog returns c as an oversized log that is being written, if it is one. What a
// rotation of the policy names is rotated before its time. Of any other, which
// no program rotates, goes what has been read: a hole changes neither its size nor
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

// deletedFile returns what of a deleted file can be given back: what lies below
// every reader's offset, less a margin. Only of a log, and only where every
// process that has it open reads it; a writer has an offset, too, but not one
// that shows what was read. The path is the process' own: where the file's mount
// is no mount of a log directory, it is a file of an application.
func deletedFile(d logs.Deleted) (Candidate, bool) {
	if !d.InLogDir || len(d.Holders) == 0 || d.Incomplete || isAudit(path.Dir(d.Path), path.Base(d.Path)) {
		return Candidate{}, false
	}
	below := d.Size
	for _, h := range d.Holders {
		if h.Writes {
			return Candidate{}, false
		}
		below = min(below, h.LeastOffsetBytes)
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
