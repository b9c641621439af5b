package filesystem

import (
	"errors"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// WithMountsBelow adds a place for every mount below the log places, so that
// /var/log/audit on a disk of its own is not overlooked. A log place that is a
// link has the mounts below the directory it leads to. A place with an error in
// errs is not looked at: reading a link on a filesystem that hangs does not return.
func WithMountsBelow(host hostfs.Root, places []Place, mounts []Mount, errs map[string]error) []Place {
	all := slices.Clone(places)
	for _, m := range mounts {
		if virtual(m.fstype) {
			continue
		}
		for _, p := range places {
			if p.Role != RoleLogs {
				continue
			}
			at, below := m.Below(p.Path)
			if !below && errs[p.Path] == nil && mayBeLink(host, p.Path) {
				at, below = m.belowLink(host, p.Path)
			}
			if below && !slices.Contains(all, Place{Path: at, Role: RoleLogs}) {
				all = append(all, Place{Path: at, Role: RoleLogs})
				break
			}
		}
	}
	return all
}

// Below returns the mount point of m where it lies below dir.
func (m Mount) Below(dir string) (string, bool) {
	rel, ok := hostfs.Below(m.point, dir)
	return m.point, ok && rel != ""
}

// belowLink returns the path through the link dir at which m is mounted.
func (m Mount) belowLink(host hostfs.Root, dir string) (string, bool) {
	real, ok := RealPath(host, dir)
	if !ok {
		return "", false
	}
	rel, ok := hostfs.Below(m.point, real)
	return path.Join(dir, rel), ok && rel != ""
}

// mayBeLink reports whether an element of p is a link. It reads the links
// alone, so a filesystem that hangs below p is not asked.
func mayBeLink(host hostfs.Root, p string) bool {
	for at := p; at != "/" && at != "."; at = path.Dir(at) {
		if isLink(host, at) {
			return true
		}
	}
	return false
}

// RealPath returns the path of the host that the directory dir has without
// links. ok is false where dir cannot be opened or lies elsewhere.
func RealPath(host hostfs.Root, dir string) (string, bool) {
	fd, err := host.OpenDir(dir, unix.O_PATH)
	if err != nil {
		return "", false
	}
	defer func() { _ = unix.Close(fd) }()
	rel, ok := hostfs.Below(pathOf(fd), pathOf(int(host)))
	return "/" + rel, ok
}

// Roots returns the directories that scans begin at, so that each file below
// dirs is seen once: a scan neither crosses a mount nor follows a link, so what
// lies behind one is a root of its own.
func Roots(host hostfs.Root, dirs []string, mounts []Mount) []string {
	var roots []string
	for _, p := range dirs {
		if !slices.Contains(roots, p) && !slices.ContainsFunc(dirs, func(top string) bool { return covers(host, top, p, mounts) }) {
			roots = append(roots, p)
		}
	}
	return roots
}

// covers reports whether the scan of top comes to p.
func covers(host hostfs.Root, top, p string, mounts []Mount) bool {
	rel, ok := hostfs.Below(p, top)
	if !ok || rel == "" {
		return false
	}
	for at := p; at != top; at = path.Dir(at) {
		if isLink(host, at) {
			return false
		}
	}
	if mountBetween(mounts, top, p) {
		return false
	}
	real, ok := top, true
	if mayBeLink(host, top) {
		real, ok = RealPath(host, top)
	}
	return !ok || !mountBetween(mounts, real, path.Join(real, rel))
}

// mountBetween reports whether p lies on another mount than top, which is above it.
func mountBetween(mounts []Mount, top, p string) bool {
	return slices.ContainsFunc(mounts, func(m Mount) bool {
		_, below := m.Below(top)
		_, above := hostfs.Below(p, m.point)
		return below && above
	})
}

// BrokenLink opens the directory p. Where that fails and an element of p is a
// link that leads nowhere, it returns the last link on the way and where that leads.
func BrokenLink(host hostfs.Root, p string) (link, target string, err error) {
	fd, err := host.OpenDir(p, unix.O_PATH)
	if err == nil {
		return "", "", unix.Close(fd)
	}
	at, buf := "", make([]byte, unix.PathMax)
	rest := strings.Split(strings.TrimPrefix(p, "/"), "/")
	for links := 0; len(rest) > 0 && links < maxLinks; {
		at, rest = path.Join(at, rest[0]), rest[1:]
		n, e := unix.Readlinkat(int(host), at, buf)
		if e != nil {
			continue // no link, or not there
		}
		links++
		link, target = "/"+at, string(buf[:n])
		if !path.IsAbs(target) {
			target = path.Join("/", path.Dir(at), target)
		}
		at, rest = "", append(strings.Split(strings.Trim(path.Clean(target), "/"), "/"), rest...)
	}
	if link == "" {
		return "", "", err
	}
	// A link that leads to a directory is whole: what is missing is below it.
	if fd, e := host.OpenDir(link, unix.O_PATH); e == nil {
		return "", "", errors.Join(err, unix.Close(fd))
	}
	return link, target, err
}

// maxLinks is how many links the kernel follows on the way to a file.
const maxLinks = 40

func isLink(host hostfs.Root, p string) bool {
	var buf [1]byte
	_, err := unix.Readlinkat(int(host), strings.TrimPrefix(p, "/"), buf[:])
	return err == nil
}
