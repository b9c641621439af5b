package disk

import (
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
)

// maxCandidates bounds what one inventory remembers.
const maxCandidates = 100_000

// inventory lists what on the device dev could be reclaimed: by names and sizes
// below the log directories, and by what the last look at the host found.
func (r *Reclaimer) inventory(u Usage, dev uint64) ([]Candidate, error) {
	var all []Candidate
	add := func(c Candidate) {
		if len(all) < maxCandidates {
			all = append(all, c)
		}
	}
	pods := defaultKubelet().PodLogs
	budget := uint64(0)
	if u.Kubelet != nil {
		pods = u.Kubelet.PodLogs
		if u.Kubelet.LogMaxSizeBytes > 0 {
			budget = uint64(u.Kubelet.LogMaxSizeBytes) * uint64(u.Kubelet.LogMaxFiles)
		}
	}
	over := map[string]bool{} // directories of containers over their own budget
	for _, p := range u.Producers {
		over[p.Path] = p.Kind == KindContainer && budget > 0 && p.Bytes > budget
	}
	read, managed := readUpTo(u.Readers), sync.OnceValues(r.Logrotate)
	for _, top := range append(slices.Clone(r.policy.LogPaths), dumps...) {
		err := r.walk(top, func(dir, name string, st *unix.Statx_t) {
			if unix.Mkdev(st.Dev_major, st.Dev_minor) != dev || st.Mode&unix.S_IFMT != unix.S_IFREG {
				return
			}
			c := Candidate{
				Path: path.Join(dir, name), Bytes: st.Blocks * 512, At: when(st.Mtime),
				inode: inode{dev, st.Ino},
			}
			if c.Class, c.Log = classOf(dir, name, pods); c.Class == "" {
				if textual(dir, name, pods) {
					if c, ok := r.live(c, st, read, managed); ok {
						add(c)
					}
				}
				return
			}
			if c.Class == ClassForeign && isContainerDir(pods, dir) && !over[dir] {
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
	if c, ok := readCoreDir(r.procfs); ok && kindOf(c.dir) != KindCore {
		c.each(r.rootfs, func(name string, st *unix.Statx_t) {
			if unix.Mkdev(st.Dev_major, st.Dev_minor) == dev {
				add(Candidate{Class: ClassCores, Path: path.Join(c.dir, name), Bytes: st.Blocks * 512, At: when(st.Mtime), inode: inode{dev, st.Ino}})
			}
		})
	}
	for _, o := range u.Orphans {
		if on, err := r.device(o.Path); err == nil && on == dev {
			add(Candidate{Class: ClassOrphans, Path: o.Path, Bytes: o.Bytes, At: o.Modified})
		}
	}
	for _, d := range u.Deleted {
		if c, ok := r.deleted(d); ok && d.Device == dev {
			add(c)
		}
	}
	return all, nil
}

// classOf says by its name what a file is, and the log it belongs to. What is
// not surely one of the classes is none.
func classOf(dir, name, pods string) (c Class, log string) {
	kind := kindOf(dir)
	switch {
	case name == ballastName:
		return ClassBallast, ""
	case kind == KindJournal:
		// system@….journal is archived, system.journal~ was found broken, and
		// system.journal is being written.
		if strings.HasSuffix(name, ".journal~") || strings.Contains(name, "@") && strings.HasSuffix(name, ".journal") {
			return ClassJournal, ""
		}
		return "", ""
	case kind == KindCore:
		return ClassCores, ""
	}
	base, old := archive([]byte(name))
	if !old || len(base) == 0 || strings.Contains(dir, "/audit") {
		return "", ""
	}
	log = path.Join(dir, string(base))
	n := compression([]byte(name))
	rest := strings.TrimPrefix(name[:len(name)-n], string(base)+".")
	_, stamped := stampTime(rest)
	_, inPod := workload.ParseLogPath(path.Join(dir, name))
	switch ours := stamped && len(rest) == len(stampLayout)-1 && !inPod && !isContainerDir(pods, dir); {
	case ours && n > 0:
		return ClassArchives, log
	case ours:
		return ClassRotated, log
	case n > 0 && len(base) < len(name)-n: // a number or a date beside the ending
		return ClassForeign, log
	}
	return "", "" // somebody else's, and they may want to compress it themselves
}

// walk visits every file below top, without following a link or crossing into
// another filesystem.
func (r *Rotator) walk(top string, visit func(dir, name string, st *unix.Statx_t)) error {
	fd, err := openRoot(r.rootfs, top, unix.O_RDONLY)
	if err != nil {
		return nil // a directory that this host does not have holds nothing
	}
	defer func() { _ = unix.Close(fd) }()
	dirs := []string{""}
	buf := make([]byte, 64<<10)
	for n := 0; len(dirs) > 0 && n < maxDirs; n++ {
		rel := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		d, err := openBeneath(fd, []byte(rel+"\x00"), unix.O_RDONLY)
		if err != nil {
			continue // gone, a mount point, or swapped for a link
		}
		for {
			n, err := unix.Getdents(d, buf)
			if err != nil || n <= 0 {
				break
			}
			dirents(buf[:n], func(name []byte, _ byte) {
				var st unix.Statx_t
				if err := statx(d, name, &st); err != nil {
					return
				}
				plain := string(name[:len(name)-1])
				if st.Mode&unix.S_IFMT == unix.S_IFDIR {
					if strings.Count(rel, "/") < maxDepth && len(rel)+len(plain) < unix.PathMax-1 {
						dirs = append(dirs, path.Join(rel, plain))
					}
					return
				}
				visit(path.Join(top, rel), plain, &st)
			})
		}
		_ = unix.Close(d)
	}
	return nil
}

func (r *Rotator) device(p string) (uint64, error) {
	fd, err := openRoot(r.rootfs, p, unix.O_PATH)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return st.Dev, err
}
