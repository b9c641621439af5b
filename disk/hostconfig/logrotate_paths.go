package hostconfig

import (
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// LogrotatePaths reports which paths logrotate's configuration on the host names:
// those are not ours to rotate. Where the host's /etc is not to be seen nothing is
// known. A directory may have several paths, through links and bind mounts: it is
// compared by device and inode too, once in the life of what is returned, which is
// one pass. It is for one goroutine.
func LogrotatePaths(procfs string, rootfs hostfs.Root) (func(file string) bool, error) {
	host, done, err := hostfs.WithEtc(procfs, rootfs)
	if err != nil {
		return nil, err
	}
	defer done()
	stanzas := ReadLogrotate(host.Files()).Stanzas
	named := func(file string) bool {
		for _, s := range stanzas {
			if s.Matches(file) {
				return true
			}
		}
		return false
	}
	dirs := patternDirs(rootfs, stanzas)
	sameDirs := map[string][]string{} // by directory, its other paths in patterns
	return func(file string) bool {
		if named(file) {
			return true
		}
		in := path.Dir(file)
		same, known := sameDirs[in]
		if !known {
			if at, ok := inodeOf(rootfs, in); ok {
				same = dirs[at]
			}
			sameDirs[in] = same
		}
		for _, dir := range same {
			if named(path.Join(dir, path.Base(file))) {
				return true
			}
		}
		return false
	}, nil
}

// maxPatternDirs bounds how many directories of patterns are looked up.
const maxPatternDirs = 10_000

// patternDirs returns the directories in which patterns look for files, by what
// they are. One with a pattern in its own name is expanded.
func patternDirs(root hostfs.Root, stanzas []LogrotateStanza) map[hostfs.Inode][]string {
	dirs, seen := map[hostfs.Inode][]string{}, map[string]bool{}
	for _, s := range stanzas {
		for _, p := range s.Patterns {
			for _, dir := range expandDir(root, path.Dir(path.Clean(p))) {
				if seen[dir] || len(seen) >= maxPatternDirs {
					continue
				}
				seen[dir] = true
				if at, ok := inodeOf(root, dir); ok {
					dirs[at] = append(dirs[at], dir)
				}
			}
		}
	}
	return dirs
}

// expandDir returns the directories that the pattern dir matches.
func expandDir(root hostfs.Root, dir string) []string {
	all := []string{"/"}
	for part := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		var next []string
		for _, at := range all {
			if !strings.ContainsAny(part, `*?[{\\`) {
				next = append(next, path.Join(at, part))
				continue
			}
			names, err := root.List(at)
			if err != nil {
				continue
			}
			for _, n := range names {
				if len(next) < maxPatternDirs && globMatch(part, n) {
					next = append(next, path.Join(at, n))
				}
			}
		}
		all = next
	}
	return all
}

func inodeOf(root hostfs.Root, dir string) (hostfs.Inode, bool) {
	fd, err := root.OpenDir(dir, unix.O_PATH)
	if err != nil {
		return hostfs.Inode{}, false
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Statx_t
	if err := hostfs.Statx(fd, hostfs.Self, &st); err != nil {
		return hostfs.Inode{}, false
	}
	return hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}, true
}
