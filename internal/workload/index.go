package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
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
//
// /var/log may be on a disk that hangs, and the call that hangs cannot be
// cancelled. So each directory is listed by a goroutine of its own: Refresh
// waits for listDeadline, once. Until that listing ends, later calls report the
// error at once and start no other.
func (x *Index) Refresh() error {
	ctx, cancel := context.WithTimeout(context.Background(), listDeadline)
	defer cancel()
	for _, l := range x.listings() {
		l.start(x.rootfs)
	}
	var errs []error
	for _, l := range x.listings() {
		errs = append(errs, l.wait(ctx))
	}
	return errors.Join(errs...)
}

func (x *Index) listings() [2]*listing { return [...]*listing{&x.pods, &x.containers} }

// Omitted returns how many names were left out because a directory has more
// than are kept.
func (x *Index) Omitted() int { return x.pods.omitted + x.containers.omitted }

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

const (
	// listDeadline is how long a listing may take: 1,000 names take 1 ms.
	listDeadline = time.Second
	// maxNames bounds what is kept of a directory, some 5 MiB. A node of 250
	// pods has 250 and 1,000; a pod with /var/log as a hostPath can make more.
	maxNames = 10_000
	// maxRead bounds how many names are read, which takes 0.2 s.
	maxRead = 200_000
)

// listing is one directory's names, parsed.
type listing struct {
	path  string
	parse func(name string) (key string, w Workload, ok bool)
	list  func(rootfs string, seen stamp) listed // nil: read the directory

	by      map[string]Workload
	seen    stamp
	omitted int
	pending chan listed // of the listing that runs, or nil
	late    bool        // it has missed its deadline
}

// listed is the result of reading a directory.
type listed struct {
	by        map[string]Workload
	seen      stamp
	unchanged bool
	omitted   int
	err       error
}

// start begins to read the directory, unless that is still going on.
func (l *listing) start(rootfs string) {
	if l.pending != nil {
		select {
		case r := <-l.pending:
			_ = l.apply(r) // an error of then: it is read again now
		default:
			return
		}
	}
	list, seen := l.list, l.seen
	if list == nil {
		path, parse := l.path, l.parse
		list = func(rootfs string, seen stamp) listed { return readNames(rootfs, path, parse, seen) }
	}
	done := make(chan listed, 1)
	l.pending, l.late = done, false
	go func() { done <- list(rootfs, seen) }()
}

// wait takes the result, if there is one before ctx ends.
func (l *listing) wait(ctx context.Context) error {
	if !l.late {
		select {
		case r := <-l.pending:
			return l.apply(r)
		case <-ctx.Done():
			l.late = true
		}
	}
	return &fs.PathError{Op: "list", Path: "/" + l.path, Err: errHung}
}

// errHung: the filesystem does not answer.
var errHung = fmt.Errorf("no answer within %v: its filesystem hangs or is very slow; names of pods that started since are unknown", listDeadline)

func (l *listing) apply(r listed) error {
	l.pending, l.late = nil, false
	if r.err == nil && !r.unchanged {
		l.by, l.seen, l.omitted = r.by, r.seen, r.omitted
	}
	return r.err
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

// readNames reads the names in a directory, unless it is as it was seen.
func readNames(rootfs, path string, parse func(string) (string, Workload, bool), seen stamp) listed {
	failed := func(op, path string, err error) listed {
		return listed{err: &fs.PathError{Op: op, Path: path, Err: err}}
	}
	root, err := hostfs.Open(rootfs)
	if err != nil {
		return listed{err: err} // already names the directory
	}
	defer func() { _ = root.Close() }()
	// Either directory may be a link to a larger disk; it is followed as the
	// host would follow it.
	fd, err := root.OpenDir(path, unix.O_RDONLY|unix.O_NONBLOCK)
	switch {
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR):
		return listed{}
	case err != nil:
		return failed("open", "/"+path, err)
	}
	dir := os.NewFile(uintptr(fd), "/"+path)
	defer func() { _ = dir.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return failed("stat", "/"+path, err)
	}
	r := listed{by: make(map[string]Workload), seen: stamp{dev: st.Dev, ino: st.Ino, mtime: st.Mtim}}
	if r.seen == seen {
		return listed{unchanged: true}
	}
	for read := 0; ; {
		names, err := dir.Readdirnames(512)
		for _, name := range names {
			key, w, ok := parse(name)
			if _, known := r.by[key]; ok && !known && len(r.by) >= maxNames {
				r.omitted++
				continue
			}
			if ok {
				r.by[key] = w
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return listed{err: err} // already names the directory
		}
		if read += len(names); read >= maxRead {
			r.omitted++ // at least
			break
		}
	}
	if time.Since(time.Unix(st.Mtim.Unix())) < settled {
		r.seen = stamp{}
	}
	return r
}
