package bpf

import (
	"bytes"
	"strings"

	"github.com/cilium/ebpf"
)

// cgroups remembers what cgroups are called.
type cgroups struct {
	known map[uint64]*cgroupName
	walk  uint64
}

type cgroupName struct {
	path string
	walk uint64 // that last met it
}

func (c *cgroups) begin() { c.walk++ }

// forget drops those that no process that was told of is in any more.
func (c *cgroups) forget() {
	for id, k := range c.known {
		if k.walk != c.walk {
			delete(c.known, id)
		}
	}
}

// cgroup returns the path of the cgroup that a process is in, from the root of
// its hierarchy; "" where that is gone. It is the one of v2, or of the memory
// controller where v1 is used, as in proc_pid_cgroup(5) from outside of every
// cgroup namespace.
func (w *Walk) cgroup(t *walkTable) string {
	k := w.names.known[t.Cgroup]
	if k == nil {
		path, ok := w.path(t)
		if !ok {
			return ""
		}
		k = &cgroupName{path: path}
		w.names.known[t.Cgroup] = k
	}
	k.walk = w.names.walk
	return k.path
}

// path asks for a path. The address may be another's by now: the id, which is
// never reused, says so.
func (w *Walk) path(t *walkTable) (string, bool) {
	var found walkCgroupPath
	if w.vars.CgroupNode.Set(t.CgroupNode) != nil {
		return "", false
	}
	if _, err := w.named.Run(&ebpf.RunOptions{}); err != nil {
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
