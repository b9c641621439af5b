package filesystem

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// statfsResult are what one probe of a path found.
type statfsResult struct {
	mount int // its id; 0 where it is not known
	fs    unix.Statfs_t
}

// Prober asks filesystems for their figures. statfs(2) on a dead NFS server or
// a FUSE daemon that is stuck never returns and cannot be cancelled: it is left
// to a goroutine that is not waited for beyond the deadline, and no second one
// is sent while the first has not come back.
type Prober struct {
	rootfs hostfs.Root
	probe  func(rootfs hostfs.Root, path string) (statfsResult, error)

	mu    sync.Mutex
	stuck map[string]time.Time // since when, by path
}

// NewProber returns a Prober of the filesystems below rootfs.
func NewProber(rootfs hostfs.Root) *Prober {
	return &Prober{rootfs: rootfs, probe: statfs, stuck: map[string]time.Time{}}
}

// HungError says that a filesystem does not answer.
type HungError struct{ since time.Duration }

func (e *HungError) Error() string {
	return fmt.Sprintf("statfs has not answered for %v", e.since.Round(time.Second))
}

// Measure probes every path and returns after the deadline at the latest, with an
// *errHung for those that have not answered.
func (p *Prober) Measure(paths []string, deadline time.Duration, now time.Time) (map[string]statfsResult, map[string]error) {
	type answer struct {
		path string
		statfsResult
		err error
	}
	// Buffered: who answers late finds room and goes away.
	answers := make(chan answer, len(paths))
	got, errs := map[string]statfsResult{}, map[string]error{}
	waiting := 0
	p.mu.Lock()
	for _, path := range paths {
		if since, ok := p.stuck[path]; ok {
			errs[path] = &HungError{now.Sub(since)}
			continue
		}
		p.stuck[path] = now
		waiting++
		go func() {
			f, err := p.probe(p.rootfs, path)
			p.mu.Lock()
			delete(p.stuck, path)
			p.mu.Unlock()
			answers <- answer{path, f, err}
		}()
	}
	p.mu.Unlock()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	for ; waiting > 0; waiting-- {
		select {
		case a := <-answers:
			if a.err != nil {
				errs[a.path] = a.err
			} else {
				got[a.path] = a.statfsResult
			}
		case <-timer.C:
			for _, path := range paths {
				if _, ok := got[path]; !ok && errs[path] == nil {
					errs[path] = &HungError{deadline}
				}
			}
			return got, errs
		}
	}
	return got, errs
}

// statfs asks the filesystem that path, seen from the host's root, lies on.
func statfs(rootfs hostfs.Root, path string) (statfsResult, error) {
	fd, err := rootfs.OpenDir(path, unix.O_PATH)
	if err != nil {
		return statfsResult{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	f := statfsResult{mount: MountID(fd)}
	for {
		if err := unix.Fstatfs(fd, &f.fs); !errors.Is(err, unix.EINTR) {
			return f, err
		}
	}
}

// Place is a path whose filesystem matters, and why.
type Place struct {
	Path string
	Role Role
}

// virtual filesystems hold no files of their own.
func virtual(fstype string) bool {
	switch fstype {
	case "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "autofs", "debugfs", "tracefs", "nsfs", "bpf", "fusectl", "configfs", "securityfs", "pstore", "binfmt_misc":
		return true
	}
	return false
}

// Describe turns the answers about places into filesystems, each of them
// once, in the order of the places.
func Describe(places []Place, mounts []Mount, got map[string]statfsResult, errs map[string]error) []Filesystem {
	var all []Filesystem
	at := map[string]int{} // by device
	byID := map[int]Mount{}
	for _, m := range mounts {
		byID[m.ID] = m
	}
	for _, p := range places {
		f, answered := got[p.Path]
		err := errs[p.Path]
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || !answered && err == nil {
			continue // this host has no such directory
		}
		m, ok := byID[f.mount]
		if !ok {
			m, ok = MountOf(mounts, p.Path)
		}
		if !ok {
			m = Mount{dev: "unknown:" + p.Path, point: p.Path}
		}
		i, seen := at[m.dev]
		if !seen {
			i = len(all)
			at[m.dev] = i
			all = append(all, newFilesystem(m, f, err))
		}
		fs := &all[i]
		if !slices.Contains(fs.Roles, p.Role) {
			fs.Roles = append(fs.Roles, p.Role)
		}
		if !slices.Contains(fs.Paths, p.Path) {
			fs.Paths = append(fs.Paths, p.Path)
		}
		// The shortest mount point is the one people know; the others are
		// bind mounts of it.
		if ok && len(m.point) < len(fs.Path) {
			fs.Path = m.point
		}
	}
	return all
}

func newFilesystem(m Mount, f statfsResult, err error) Filesystem {
	fs := Filesystem{Path: m.point, Source: m.source, Type: m.fstype, Device: m.dev}
	if strings.HasPrefix(m.dev, "unknown:") {
		fs.Device = ""
	}
	var hung *HungError
	switch {
	case errors.As(err, &hung):
		fs.State, fs.Error = StateHung, err.Error()
		return fs
	case err != nil:
		fs.State, fs.Error = StateFailed, "statfs: "+err.Error()
		return fs
	case m.ShutDown:
		fs.State = StateShutDown
	case m.ReadOnly:
		fs.State = StateReadOnly
	default:
		fs.State = StateOK
	}
	unit := uint64(f.fs.Frsize)
	if unit == 0 {
		unit = uint64(f.fs.Bsize)
	}
	fs.SizeBytes, fs.AvailBytes = f.fs.Blocks*unit, f.fs.Bavail*unit
	fs.ReservedBytes = (f.fs.Bfree - min(f.fs.Bavail, f.fs.Bfree)) * unit
	fs.Inodes, fs.InodesFree = f.fs.Files, f.fs.Ffree
	return fs
}

// MarkRoles gives their roles to filesystems of which the kubelet's or the runtime's
// directory is not mounted here, as in a pod. host is the root of the kubelet's
// process and mounts are those of its mount namespace.
func MarkRoles(host hostfs.Root, mounts []Mount, places []Place, all []Filesystem) {
	for _, p := range places {
		if p.Role != RoleKubelet && p.Role != RoleRuntime || slices.ContainsFunc(all, func(f Filesystem) bool { return slices.Contains(f.Paths, p.Path) }) {
			continue
		}
		device := Device(host, p.Path, mounts)
		for i := range all {
			if device != "" && all[i].Device == device && !slices.Contains(all[i].Roles, p.Role) {
				all[i].Roles = append(all[i].Roles, p.Role)
			}
		}
	}
}

// Stat asks the filesystem under p. It has answered a moment ago, in the look
// at the host that led here.
func Stat(host hostfs.Root, p string) (Filesystem, error) {
	fd, err := host.OpenDir(p, unix.O_RDONLY)
	if err != nil {
		return Filesystem{}, &os.PathError{Op: "open", Path: p, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return Filesystem{}, &os.PathError{Op: "statfs", Path: p, Err: err}
	}
	block := uint64(max(st.Frsize, st.Bsize, 1))
	return Filesystem{
		Path: p, State: StateOK, SizeBytes: st.Blocks * block, AvailBytes: st.Bavail * block,
		Inodes: st.Files, InodesFree: st.Ffree,
	}, nil
}
