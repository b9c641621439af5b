package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// rootInode is that of the root of a hierarchy (kernfs). A cgroup namespace
// shows another directory as the root, which has another one.
const rootInode = 1

// openRoot opens the root of the cgroup v2 hierarchy.
func openRoot(cgroupfs string) (*os.File, error) {
	for _, dir := range []string{cgroupfs, filepath.Join(cgroupfs, "unified")} {
		f, err := os.OpenFile(dir, unix.O_DIRECTORY, 0)
		if err != nil {
			continue // cgroup v1, or nothing
		}
		if onCgroup2(f) {
			return checkRoot(f, dir+" shows")
		}
		_ = f.Close()
	}
	f, err := mountPrivately()
	if err != nil {
		return nil, &UnavailableError{Needs: "cgroup v2, which is not mounted at " + cgroupfs, Err: err}
	}
	return checkRoot(f, "this cgroup namespace has")
}

func checkRoot(f *os.File, where string) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("stat the cgroup root: %w", err)
	}
	if st.Ino != rootInode {
		_ = f.Close()
		return nil, &UnavailableError{
			Needs: "the root of cgroup v2",
			Err:   fmt.Errorf("%s only a part of the hierarchy: mount the host's /sys/fs/cgroup", where),
		}
	}
	return f, nil
}

func onCgroup2(f *os.File) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC
}

// mountPrivately mounts cgroup v2 where no mount table shows it (Linux 5.2).
// The kernel unmounts it with its last descriptor.
func mountPrivately() (*os.File, error) {
	context, err := unix.Fsopen("cgroup2", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, mountProblem(err)
	}
	defer func() { _ = unix.Close(context) }()
	if err := unix.FsconfigCreate(context); err != nil {
		return nil, mountProblem(err)
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, mountProblem(err)
	}
	// fsmount(2) gives an O_PATH descriptor, which BPF does not take.
	defer func() { _ = unix.Close(mount) }()
	root, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, mountProblem(err)
	}
	return os.NewFile(uintptr(root), "cgroup2"), nil
}

func mountProblem(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("mounting it needs CAP_SYS_ADMIN: %w", err)
	}
	return fmt.Errorf("mount it: %w", err)
}

const (
	maxCgroups = 1 << 14 // that a search visits
	maxNames   = 1 << 10 // that are remembered
)

// cgroupNames finds paths of cgroups by their ids, which are never used again.
type cgroupNames struct{ known map[uint64]string }

// path returns "" where the cgroup is gone.
func (c *cgroupNames) path(root *os.File, id uint64) string {
	if path, ok := c.known[id]; ok {
		return path
	}
	visited, found := 0, ""
	// The walk follows no links, and cgroupfs has none.
	_ = fs.WalkDir(os.DirFS(fmt.Sprintf("/proc/self/fd/%d", root.Fd())), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // a cgroup that ended meanwhile
		}
		if visited++; visited > maxCgroups {
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // a cgroup that ended meanwhile
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Ino == id {
			found = filepath.Join("/", path)
			return fs.SkipAll
		}
		return nil
	})
	if found != "" {
		if c.known == nil || len(c.known) >= maxNames {
			c.known = map[uint64]string{}
		}
		c.known[id] = found
	}
	return found
}
