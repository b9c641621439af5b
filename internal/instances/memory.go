package instances

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nodetune/nodetune/internal/meminfo"
)

// marks counts the kernel's inotify marks, of which every watch has one, in
// the slab they are allocated from. The slab may be shared with other objects
// of the same size and counts those that are free on a CPU: it is an upper
// bound. The file needs uid 0 and no capability.
type marks struct{ path string }

func openMarks(sysfs string) marks {
	return marks{filepath.Join(sysfs, "kernel/slab/inotify_inode_mark/objects")}
}

// count returns -1 where the kernel does not say (CONFIG_SLUB_DEBUG off, not
// uid 0).
func (m marks) count() int64 {
	b, err := os.ReadFile(m.path)
	if err != nil {
		return -1
	}
	word, _, _ := bytes.Cut(b, []byte(" ")) // then per NUMA node
	n, err := strconv.ParseInt(string(bytes.TrimSpace(word)), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// MostWatches returns how many watches the node has at most, or -1 where the
// kernel does not say.
func MostWatches(sysfs string) int64 { return openMarks(sysfs).count() }

// memory says how much this process may still use: of the memory that is
// available and of what each memory cgroup above it allows.
type memory struct {
	procfs, sysfs string
}

// free returns bytes. What cannot be read does not limit; the memory that is
// available always can.
func (m memory) free() int64 {
	free := m.available()
	own, err := os.ReadFile(filepath.Join(m.procfs, "self/cgroup"))
	if err != nil {
		return free
	}
	// Inside of a cgroup namespace paths begin at its root, which is what
	// is mounted there.
	for line := range strings.Lines(string(own)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "":
			free = min(free, m.freeInHierarchy(filepath.Join(m.sysfs, "fs/cgroup"), parts[2], "memory.max", "memory.current", "inactive_file "))
		case slices.Contains(strings.Split(parts[1], ","), "memory"):
			free = min(free, m.freeInHierarchy(filepath.Join(m.sysfs, "fs/cgroup/memory"), parts[2], "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "))
		}
	}
	return max(0, free)
}

// available is MemAvailable of proc_meminfo(5), 0 where it is not known.
func (m memory) available() int64 {
	n, _ := meminfo.Read(m.procfs, meminfo.Available)
	return n
}

// freeInHierarchy returns the least that a cgroup and those above it leave free. Page
// cache that is inactive gives way to what is needed (cgroup v2,
// memory.stat), as it does for the kubelet's working set.
func (m memory) freeInHierarchy(root, path, limit, usage, reclaimable string) int64 {
	free := int64(math.MaxInt64)
	for dir := filepath.Clean("/" + path); ; dir = filepath.Dir(dir) {
		most, ok1 := readInt(filepath.Join(root, dir, limit))
		used, ok2 := readInt(filepath.Join(root, dir, usage))
		if ok1 && ok2 {
			left := most - used
			if b, err := os.ReadFile(filepath.Join(root, dir, "memory.stat")); err == nil {
				left += statLine(b, reclaimable)
			}
			free = min(free, left)
		}
		if dir == "/" {
			return free
		}
	}
}

// bound returns how many watches the kernel memory of a cgroup has room for,
// at 80 bytes for a mark (struct inotify_inode_mark since 2.6.31 has never
// been smaller on 64 bits), which are charged to the process that adds the watch. It is
// a very large number where the cgroup has no accounting of kernel memory,
// which is what 0 says: every process has a kernel stack.
func (m memory) bound(cgroup string) int64 {
	const markBytes = 80
	if cgroup == "" || cgroup == "/" || strings.Contains(cgroup, "..") {
		return math.MaxInt32
	}
	if n, ok := readInt(filepath.Join(m.sysfs, "fs/cgroup/memory", cgroup, "memory.kmem.usage_in_bytes")); ok && n > 0 {
		return n / markBytes
	}
	if b, err := os.ReadFile(filepath.Join(m.sysfs, "fs/cgroup", cgroup, "memory.stat")); err == nil {
		if n := statLine(b, "slab_unreclaimable "); n > 0 {
			return n / markBytes
		}
	}
	return math.MaxInt32
}

// byCgroup bounds the instances whose holders are all in one cgroup.
func (m memory) byCgroup(descriptors []Descriptor, all []Instance, candidates []candidate) {
	bounds := map[string]int64{}
	for i := range all {
		cgroup := descriptors[all[i].Holders[0]].Cgroup
		for _, h := range all[i].Holders {
			if descriptors[h].Cgroup != cgroup {
				cgroup = ""
			}
		}
		bound, ok := bounds[cgroup]
		if !ok {
			bound = m.bound(cgroup)
			bounds[cgroup] = bound
		}
		candidates[i].bound = bound
	}
}

func readInt(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil // "max" is no limit
}

// statLine returns the number after name in a memory.stat.
func statLine(b []byte, name string) int64 {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			n, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			if err == nil && n > 0 {
				return n
			}
		}
	}
	return 0
}
