package bpf

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// Where controllers use cgroup v1, a runtime may leave a container in the unit of v2
// in which the runtime itself is.
func TestCgroupOfContainer(t *testing.T) {
	privtest.Host(t)
	const (
		unit      = "/system.slice/nodetune-test.service"
		container = "/kubepods/burstable/pod5d1ba4b3-9f2c-4a1e-8a55-0a1b2c3d4e5f/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	)
	unified, memory := cgroupRoots(t)
	pid := inotifytest.New(t, 1).Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: 70350, Instances: 1})[0][0].PID
	for _, tt := range []struct{ v2, v1, want string }{
		{unit, container, container},
		{container, unit, container},
		{container, "/", container},
		{"/", container, container},
		{unit, "/of-an-administrator", unit},
		{unit, "/system.slice", unit},
		{unit + "/below", "/", unit + "/below"},
	} {
		if memory == "" && tt.v1 == container && tt.v2 != container {
			continue // without cgroup v1 a process is in one cgroup
		}
		enter(t, unified+tt.v2, pid)
		if memory != "" {
			enter(t, memory+tt.v1, pid)
		}
		for name, w := range walks(t) {
			if _, by := holders(t, w); by[pid].Cgroup != tt.want {
				t.Errorf("%s: in %s of v2 and %s of v1: got %s, want %s", name, tt.v2, tt.v1, by[pid].Cgroup, tt.want)
			}
		}
	}
}

// cgroupRoots returns where cgroup v2 is mounted, and the memory controller of v1 or "".
func cgroupRoots(t *testing.T) (unified, memory string) {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			unified = dir
		}
	}
	if unified == "" {
		t.Fatal("cgroup v2 is mounted neither on /sys/fs/cgroup nor on /sys/fs/cgroup/unified")
	}
	const v1 = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(v1 + "/cgroup.procs"); err == nil && unified != "/sys/fs/cgroup" {
		memory = v1
	}
	return unified, memory
}

// enter moves a process to a cgroup, which is removed when the test ends.
func enter(t *testing.T, dir string, pid int) {
	t.Helper()
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := "/sys/fs/cgroup"
	for _, sub := range []string{"/unified", "/memory"} {
		if strings.HasPrefix(dir, root+sub+"/") {
			root += sub
			break
		}
	}
	t.Cleanup(func() {
		_ = os.WriteFile(root+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0o644) // it may have ended
		for _, d := range made {
			if err := os.Remove(d); err != nil {
				t.Error(err)
			}
		}
	})
	if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// However many cgroups with long names there are, the memory of their paths has a bound,
// and what is gone makes room.
func TestCgroupPathsAreBounded(t *testing.T) {
	c := cgroupPaths{known: map[cgroupKey]*cgroupPath{}}
	long := "/" + strings.Repeat("x", 2000)
	kept := 0
	for i := range 65_536 {
		if _, ok := c.keep(cgroupKey{id: uint64(i)}, long); ok {
			kept++
		}
	}
	if kept != maxCgroupPathBytes/len(long) || len(c.known) != kept || c.bytes > maxCgroupPathBytes {
		t.Errorf("%d paths of %d are kept, %d bytes", kept, len(c.known), c.bytes)
	}
	for range keptWalks {
		c.beginWalk()
	}
	c.removeUnused()
	if c.bytes != 0 || len(c.known) != 0 {
		t.Errorf("%d paths and %d bytes are left", len(c.known), c.bytes)
	}
}
