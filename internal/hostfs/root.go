package hostfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is the open root directory of the host, or of one of its processes.
type Root int

// ReadFile reads a configuration file of the host, and not more of it than any
// such file has.
func (r Root) ReadFile(p string) ([]byte, error) {
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
	b, err := io.ReadAll(io.LimitReader(f, MaxConfigBytes+1))
	if err == nil && len(b) > MaxConfigBytes {
		err = &os.PathError{Op: "read", Path: p, Err: fmt.Errorf("larger than %d bytes", MaxConfigBytes)}
	}
	return b, err
}

// List returns the sorted names in a directory of the host.
func (r Root) List(p string) ([]string, error) {
	fd, err := r.OpenDir(p, unix.O_RDONLY)
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

// OfProcess opens the root directory of a process (CAP_SYS_PTRACE).
func OfProcess(procfs string, pid int) (Root, error) {
	fd, err := unix.Open(filepath.Join(procfs, strconv.Itoa(pid), "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return Root(fd), err
}

// WithEtc returns the root of the host below which its /etc is, and what to
// call after it: that of PID 1 where /etc is not mounted below host, as in a pod.
func WithEtc(procfs string, host Root) (Root, func(), error) {
	_, err := host.List("/etc")
	if err == nil {
		return host, func() {}, nil
	}
	root, e := OfProcess(procfs, 1)
	if e != nil {
		return 0, nil, err
	}
	return root, func() { _ = unix.Close(int(root)) }, nil
}

// Bounds of walk, so that a directory full of directories ends.
const (
	maxWalkDirs  = 200_000
	maxWalkDepth = 64
)

// Walk visits every file below top, without following a link or crossing into
// another filesystem.
func (r Root) Walk(top string, visit func(dir, name string, st *unix.Statx_t)) error {
	fd, err := r.OpenDir(top, unix.O_RDONLY)
	if err != nil {
		return nil // a directory that this host does not have holds nothing
	}
	defer func() { _ = unix.Close(fd) }()
	dirs := []string{""}
	buf := make([]byte, 64<<10)
	for n := 0; len(dirs) > 0 && n < maxWalkDirs; n++ {
		rel := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		d, err := OpenBeneath(fd, []byte(rel+"\x00"), unix.O_RDONLY)
		if err != nil {
			continue // gone, a mount point, or swapped for a link
		}
		for {
			n, err := unix.Getdents(d, buf)
			if err != nil || n <= 0 {
				break
			}
			Dirents(buf[:n], func(name []byte, _ byte) {
				var st unix.Statx_t
				if err := Statx(d, name, &st); err != nil {
					return
				}
				plain := string(name[:len(name)-1])
				if st.Mode&unix.S_IFMT == unix.S_IFDIR {
					if strings.Count(rel, "/") < maxWalkDepth && len(rel)+len(plain) < unix.PathMax-1 {
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

// Open opens the directory where the root of the host is mounted.
func Open(rootfs string) (Root, error) {
	fd, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: rootfs, Err: err}
	}
	return Root(fd), nil
}

// Close closes the root directory.
func (r Root) Close() error { return unix.Close(int(r)) }

// Below returns the path of p relative to dir: "" for dir itself, "a/b" below it.
func Below(p, dir string) (rel string, ok bool) {
	if dir == "/" {
		return strings.TrimPrefix(p, "/"), true
	}
	rel, ok = strings.CutPrefix(p, dir)
	if !ok || rel != "" && rel[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rel, "/"), true
}
