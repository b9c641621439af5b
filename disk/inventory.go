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
		err := r.host.rootfs.walk(top, func(dir, name string, st *unix.Statx_t) {
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
	if c, ok := readCoreDir(r.host.procfs); ok && kindOf(c.dir) != KindCore {
		c.each(r.host.rootfs, func(name string, st *unix.Statx_t) {
			if unix.Mkdev(st.Dev_major, st.Dev_minor) == dev {
				add(Candidate{Class: ClassCores, Path: path.Join(c.dir, name), Bytes: st.Blocks * 512, At: when(st.Mtime), inode: inode{dev, st.Ino}})
			}
		})
	}
	for _, o := range u.Orphans {
		if on, err := r.host.rootfs.deviceNumber(o.Path); err == nil && on == dev {
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
