package workload

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Index knows the names of this node's pods and containers from the names of
// their logs. It is for one goroutine.
type Index struct {
	rootfs     string
	pods       listing // /var/log/pods, by pod UID
	containers listing // /var/log/containers, by container id
}

// NewIndex returns an empty Index of the host whose root directory is rootfs.
func NewIndex(rootfs string) *Index {
	return &Index{
		rootfs: rootfs,
		pods: listing{path: PodLogs, parse: func(name string) (string, Workload, bool) {
			w, ok := ParsePodDir(name)
			return w.PodUID, w, ok
		}},
		containers: listing{path: ContainerLogs, parse: func(name string) (string, Workload, bool) {
			w, ok := ParseContainerLink(name)
			return w.ContainerID, w, ok
		}},
	}
}

// Refresh lists the two directories again where they have changed since. A
// host without them (no kubelet) is no error. After an error the names known
// before stay.
func (x *Index) Refresh() error {
	return errors.Join(x.pods.refresh(x.rootfs), x.containers.refresh(x.rootfs))
}

// Named returns w with the namespace, pod and container that belong to its pod
// UID and container id. The name of a container that has no log (a pod's
// sandbox) stays empty.
func (x *Index) Named(w Workload) Workload {
	if w.ContainerID != "" {
		if c, ok := x.containers.by[w.ContainerID]; ok {
			w.Namespace, w.Pod, w.Container = c.Namespace, c.Pod, c.Container
			return w
		}
	}
	if w.PodUID != "" {
		if p, ok := x.pods.by[w.PodUID]; ok {
			w.Namespace, w.Pod = p.Namespace, p.Pod
		}
	}
	return w
}

// listing is one directory's names, parsed.
type listing struct {
	path  string
	parse func(name string) (key string, w Workload, ok bool)

	by   map[string]Workload
	seen stamp
}

// stamp says which directory was read, and in which state.
type stamp struct {
	dev, ino uint64
	mtime    unix.Timespec
}

// settled is how old a directory's mtime must be to vouch for its content: the
// kernel stamps with the time of its last tick (at most 10 ms, CONFIG_HZ=100),
// so a name made right after a listing may leave the mtime as it was.
const settled = time.Second

func (l *listing) refresh(rootfs string) error {
	root, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: rootfs, Err: err}
	}
	defer func() { _ = unix.Close(root) }()
	// Either directory may be a link to a larger disk; it is followed as the
	// host would follow it. openat2(2) is in Linux since 5.6.
	fd, err := unix.Openat2(root, l.path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		l.by, l.seen = nil, stamp{}
		return nil
	case err != nil:
		return &fs.PathError{Op: "open", Path: "/" + l.path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), "/"+l.path)
	defer func() { _ = dir.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: "/" + l.path, Err: err}
	}
	now := stamp{dev: st.Dev, ino: st.Ino, mtime: st.Mtim}
	if now == l.seen {
		return nil
	}
	by := make(map[string]Workload)
	for {
		names, err := dir.Readdirnames(512)
		for _, name := range names {
			if key, w, ok := l.parse(name); ok {
				by[key] = w
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err // already names the directory
		}
	}
	l.by, l.seen = by, now
	if time.Since(time.Unix(st.Mtim.Unix())) < settled {
		l.seen = stamp{}
	}
	return nil
}
