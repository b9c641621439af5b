package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// hostRoot is the open root directory of the host, or of one of its processes.
type hostRoot int

// readFile reads a configuration file of the host, and not more of it than any
// such file has.
func (r hostRoot) readFile(p string) ([]byte, error) {
	fd, err := openat2(int(r), []byte(p+"\x00"), unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	f := os.NewFile(uintptr(fd), p)
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: p, Err: errors.New("not a regular file")}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && len(b) > maxConfig {
		err = &os.PathError{Op: "read", Path: p, Err: fmt.Errorf("larger than %d bytes", maxConfig)}
	}
	return b, err
}

// list returns the sorted names in a directory of the host.
func (r hostRoot) list(p string) ([]string, error) {
	fd, err := openRoot(int(r), p, unix.O_RDONLY)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	f := os.NewFile(uintptr(fd), p)
	defer func() { _ = f.Close() }()
	names, err := f.Readdirnames(10_000)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	slices.Sort(names)
	return names, err
}

// rootOf opens the root directory of a process (CAP_SYS_PTRACE).
func rootOf(procfs string, pid int) (hostRoot, error) {
	fd, err := unix.Open(filepath.Join(procfs, strconv.Itoa(pid), "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return hostRoot(fd), err
}

// rootWithEtc returns the root of the host below which its /etc is, and what to
// call after it: that of PID 1 where /etc is not mounted below rootfs, as in a pod.
func rootWithEtc(procfs string, rootfs int) (hostRoot, func(), error) {
	host := hostRoot(rootfs)
	_, err := host.list("/etc")
	if err == nil {
		return host, func() {}, nil
	}
	root, e := rootOf(procfs, 1)
	if e != nil {
		return 0, nil, err
	}
	return root, func() { _ = unix.Close(int(root)) }, nil
}

// device names the filesystem that a directory lies on as mountinfo does, ""
// where that cannot be told.
func (r hostRoot) device(dir string) string {
	fd, err := openRoot(int(r), dir, unix.O_PATH)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Statx_t
	if err := statx(fd, itself, &st); err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor)
}

// mark gives their roles to filesystems of which the kubelet's or the runtime's
// directory is not mounted here, as in a pod.
func (r hostRoot) mark(places []place, all []Filesystem) {
	for _, p := range places {
		if p.role != RoleKubelet && p.role != RoleRuntime || slices.ContainsFunc(all, func(f Filesystem) bool { return slices.Contains(f.Paths, p.path) }) {
			continue
		}
		device := r.device(p.path)
		for i := range all {
			if device != "" && all[i].Device == device && !slices.Contains(all[i].Roles, p.role) {
				all[i].Roles = append(all[i].Roles, p.role)
			}
		}
	}
}
