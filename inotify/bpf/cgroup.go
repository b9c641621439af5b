package bpf

import (
	"bytes"
	"strings"

	"github.com/cilium/ebpf"
)

// cgroupPaths caches the paths of cgroups from one walk to the next.
type cgroupPaths struct {
	known map[cgroupKey]*cgroupPath
	bytes int    // of the paths
	walk  uint64 // number of the current walk
}

// maxCgroupPathBytes bounds the paths that are kept. A node of 250 pods has some 100 KB. A
// user whom systemd lets make cgroups can make as many as processes, with long names; a process
// beyond the bound has no cgroup here, and so belongs to nobody.
const maxCgroupPathBytes = 2 << 20

// keep remembers a path, or reports that there is no room for it.
func (c *cgroupPaths) keep(key cgroupKey, path string) (*cgroupPath, bool) {
	if c.bytes+len(path) > maxCgroupPathBytes {
		return nil, false
	}
	k := &cgroupPath{path: path}
	c.known[key] = k
	c.bytes += len(path)
	return k, true
}

// cgroupKey identifies a cgroup. Each hierarchy counts the ids of its own cgroups, so
// an id alone is not unique.
type cgroupKey struct{ node, id uint64 }

type cgroupPath struct {
	path string
	walk uint64 // the last walk that found a process in it
}

func (c *cgroupPaths) beginWalk() { c.walk++ }

// keptWalks is for how many walks a path is kept that is not used. A walk for open files
// and one for instances find other processes.
const keptWalks = 8

// removeUnused removes the cgroups in which the last walks found no process.
func (c *cgroupPaths) removeUnused() {
	for id, k := range c.known {
		if c.walk-k.walk >= keptWalks {
			delete(c.known, id)
			c.bytes -= len(k.path)
		}
	}
}

// cgroup returns the path of the cgroup of a process from the root of its
// hierarchy, or "" if the cgroup is gone. It is the cgroup of v2, or of the v1
// memory controller if the process is in the root of v2. The path is that of
// cgroups(7) as seen from outside of every cgroup namespace.
func (w *Walk) cgroup(t *walkTable) string {
	key := cgroupKey{t.CgroupNode, t.Cgroup}
	k := w.cgroups.known[key]
	if k == nil {
		path, ok := w.readCgroupPath(t)
		if !ok {
			return ""
		}
		if k, ok = w.cgroups.keep(key, path); !ok {
			return ""
		}
	}
	k.walk = w.cgroups.walk
	return k.path
}

// readCgroupPath reads a path from the kernel. The memory of the cgroup may belong
// to another one by now, which its id shows: ids are never reused.
func (w *Walk) readCgroupPath(t *walkTable) (string, bool) {
	var found walkCgroupPath
	if w.vars.CgroupNode.Set(t.CgroupNode) != nil {
		return "", false
	}
	if _, err := w.readPath.Run(&ebpf.RunOptions{}); err != nil {
		return "", false
	}
	if w.vars.CgroupPath.Get(&found) != nil || found.Id != t.Cgroup {
		return "", false
	}
	if found.Count == 0 {
		return "/", true
	}
	var b strings.Builder
	for i := int(found.Count) - 1; i >= 0; i-- {
		name, _, _ := bytes.Cut(found.Name[i][:], []byte{0})
		b.WriteByte('/')
		b.Write(name)
	}
	return b.String(), true
}
