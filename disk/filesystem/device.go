package filesystem

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// MountID returns the id of the mount that an open file lies on, as mountinfo
// has it (STATX_MNT_ID, Linux 5.8; before, mnt_id in fdinfo), or 0. st_dev is no
// substitute: overlayfs and btrfs show a device in it that no mount has.
func MountID(fd int) int {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &st); err == nil && st.Mask&unix.STATX_MNT_ID != 0 {
		return int(st.Mnt_id)
	}
	return FDMountID("/proc/self", fd)
}

// FDMountID returns the mnt_id in the fdinfo of a descriptor of the process
// whose directory in procfs is dir, proc_pid_fdinfo(5), or 0.
func FDMountID(dir string, fd int) int {
	f, err := os.Open(filepath.Join(dir, "fdinfo", strconv.Itoa(fd)))
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 256) // pos, flags and mnt_id come first
	n, err := f.Read(head)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(head[:n])) {
		if rest, ok := strings.CutPrefix(line, "mnt_id:"); ok {
			id, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				return 0
			}
			return id
		}
	}
	return 0
}

// pathOf returns the path of an open directory in the mount namespace of this
// process, "" where that cannot be known.
func pathOf(fd int) string {
	p, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return ""
	}
	return p
}

// ReadHostMounts returns the mounts below the root of the host, as this process
// sees them, with the mount points that the host knows.
func ReadHostMounts(procfs string, host hostfs.Root) ([]Mount, error) {
	mounts, err := MountsOf(filepath.Join(procfs, "self"))
	root := pathOf(int(host))
	if root == "" {
		root = "/"
	}
	return HostMounts(mounts, root), err
}

// MountsOf returns the mounts in the mount namespace of a process, whose
// directory in procfs is dir.
func MountsOf(dir string) ([]Mount, error) {
	f, err := os.Open(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	mounts, _, err := ReadMounts(f)
	return mounts, err
}

// Device returns the device, as mountinfo names it, of the filesystem that the
// directory dir of the host lies on, "" where that is not known.
func Device(host hostfs.Root, dir string, mounts []Mount) string {
	fd, err := host.OpenDir(dir, unix.O_PATH)
	if err != nil {
		return ""
	}
	defer func() { _ = unix.Close(fd) }()
	m, ok := mountByID(mounts, MountID(fd))
	if !ok {
		m, ok = MountOf(mounts, dir)
	}
	if !ok {
		return ""
	}
	return m.dev
}

// MountSDev returns the device of the mount with this id, in the encoding of
// [Mount.SDev].
func MountSDev(mounts []Mount, id int) (uint64, bool) {
	m, ok := mountByID(mounts, id)
	return m.SDev(), ok
}

func mountByID(mounts []Mount, id int) (Mount, bool) {
	for _, m := range mounts {
		if id != 0 && m.ID == id {
			return m, true
		}
	}
	return Mount{}, false
}

// upperDir returns the upper directory in the options of an overlay, without the
// escapes of overlayfs (a backslash before a comma, a colon or itself).
func upperDir(options string) string {
	const key = "upperdir="
	at := strings.Index(","+options, ","+key)
	if at < 0 {
		return ""
	}
	s := unescape(options[at+len(key):])
	var b strings.Builder
	for i := 0; i < len(s) && s[i] != ','; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// maxNamespaces bounds of how many mount namespaces a [Locator] reads the mounts: a
// node has one for each container.
const maxNamespaces = 1024

// Location is where a file lies: on the filesystem with this device, as
// mountinfo names it, at this path below the root of that filesystem.
type Location struct{ Device, Path string }

// Below reports whether l is dir or below it.
func (l Location) Below(dir Location) bool {
	_, ok := hostfs.Below(l.Path, dir.Path)
	return ok && l.Device == dir.Device && l.Path != ""
}

// at returns the location of p, a path that leads to m.
func (m Mount) at(p string) Location {
	rel, ok := hostfs.Below(p, m.point)
	if !ok || m.root == "" || m.root[0] != '/' {
		return Location{Device: m.dev}
	}
	return Location{m.dev, path.Join(m.root, rel)}
}

// Locate returns the location of a directory of the host.
func Locate(host hostfs.Root, dir string, mounts []Mount) (Location, bool) {
	fd, err := host.OpenDir(dir, unix.O_PATH)
	if err != nil {
		return Location{}, false
	}
	defer func() { _ = unix.Close(fd) }()
	if real, ok := hostfs.Below(pathOf(fd), pathOf(int(host))); ok {
		dir = "/" + real
	}
	m, ok := mountByID(mounts, MountID(fd))
	if !ok {
		m, ok = MountOf(mounts, dir)
	}
	return m.at(dir), ok
}

// Locator finds the filesystem that the data of a process' open file lies on,
// also where it is mounted in the mount namespace of a container only. It is for
// one walk of /proc.
type Locator struct {
	procfs string
	host   []Mount // of PID 1: the paths that container runtimes mount by
	byID   map[int]located
	read   map[string]bool // mount namespaces
}

// located is a mount with the mounts among which its upper directory lies.
type located struct {
	Mount
	upperIn []Mount
}

// NewLocator returns a Locator for the processes below procfs.
func NewLocator(procfs string) *Locator {
	l := &Locator{procfs: procfs, byID: map[int]located{}, read: map[string]bool{}}
	own, _ := MountsOf(filepath.Join(procfs, "self"))
	var err error
	if l.host, err = MountsOf(filepath.Join(procfs, "1")); err != nil {
		l.host = own
	}
	for _, table := range [][]Mount{l.host, own} {
		for _, m := range table {
			l.add(m, table)
		}
	}
	return l
}

func (l *Locator) add(m Mount, upperIn []Mount) {
	if _, ok := l.byID[m.ID]; !ok {
		l.byID[m.ID] = located{m, upperIn}
	}
}

// File returns the location of a descriptor of process pid, which that has open
// by the path p, and the device of the filesystem that holds its data: of a file
// on an overlay it is that of the upper directory. ok is false where the mount is
// not known. The mount is the one that the kernel names in fdinfo.
func (l *Locator) File(pid, fd int, p string) (at Location, data string, ok bool) {
	dir := filepath.Join(l.procfs, strconv.Itoa(pid))
	id := FDMountID(dir, fd)
	if id == 0 {
		return Location{}, "", false
	}
	if _, ok := l.byID[id]; !ok {
		l.readNamespace(dir)
	}
	m, ok := l.byID[id]
	if !ok {
		return Location{}, "", false
	}
	return m.at(p), l.device(m), true
}

// readNamespace learns the mounts in the mount namespace of a process.
func (l *Locator) readNamespace(dir string) {
	ns, err := os.Readlink(filepath.Join(dir, "ns/mnt"))
	if err != nil {
		ns = dir
	}
	if l.read[ns] || len(l.read) >= maxNamespaces {
		return
	}
	l.read[ns] = true
	mounts, err := MountsOf(dir)
	if err != nil {
		return
	}
	for _, m := range mounts {
		if m.point == "/" { // the container runtime has mounted it, on the host
			l.add(m, l.host)
		} else {
			l.add(m, mounts)
		}
	}
}

// device returns the device that holds the data of m: of an overlay it is the
// filesystem of the upper directory.
func (l *Locator) device(m located) string {
	for range 4 { // an overlay may lie on an overlay
		if m.upper == "" || m.upper[0] != '/' {
			break
		}
		below, ok := MountOf(m.upperIn, m.upper)
		if !ok || below.ID == m.ID {
			break
		}
		m = l.byID[below.ID]
	}
	return m.dev
}
