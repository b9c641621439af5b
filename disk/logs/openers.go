package logs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/openfiles"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// OpenFileSource finds who has which file open without a walk of procfs.
type OpenFileSource interface {
	OpenFiles(openfiles.Filter) (openfiles.Scan, error)
}

// maxLookups bounds the descriptors of one snapshot whose path is looked up in
// procfs: those of deleted files, and of files below a log directory that no scan has
// listed.
const maxLookups = 4096

// WantedPrograms are the names of processes that a source must report although they
// have no log open: they may be the kubelet or the Docker daemon.
func WantedPrograms() []string {
	all := []string{"dockerd"}
	for name := range hostconfig.KubeletNames {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// OpenFilesFilter returns the filter that finds the openings of the logs of all trees, as
// they were scanned last. It returns an error where the kernel numbers files otherwise than
// stat(2), by which the scan knows them.
func OpenFilesFilter(trees map[string]*Tree, mounts []filesystem.Mount) (openfiles.Filter, error) {
	filter := openfiles.Filter{Programs: WantedPrograms()}
	for _, t := range trees {
		if t.top == nil || insideOther(t, trees) {
			continue
		}
		m, ok := filesystem.MountByID(mounts, t.Mount)
		if !ok {
			return filter, fmt.Errorf("the mount of %s is not known", t.Host)
		}
		dev := t.top.dev
		if m.SDev() != uint64(dev.major)<<20|uint64(dev.minor) || m.IsOverlay() {
			return filter, fmt.Errorf("the kernel numbers the files of %s otherwise than stat(2), as on btrfs and overlayfs", t.Host)
		}
		filter.Below = append(filter.Below, openfiles.Directory{Dev: unix.Mkdev(dev.major, dev.minor), Ino: t.top.ino})
	}
	if len(filter.Below) == 0 {
		return filter, errors.New("no log directory has been scanned yet")
	}
	if len(filter.Below) > openfiles.MaxDirectories {
		return filter, fmt.Errorf("there are %d log directories, and a walk compares with %d", len(filter.Below), openfiles.MaxDirectories)
	}
	return filter, nil
}

// insideOther reports whether the top of a tree is below that of another one of the same
// mount.
func insideOther(t *Tree, trees map[string]*Tree) bool {
	for _, other := range trees {
		if rel, ok := hostfs.Below(t.Host, other.Host); ok && rel != "" && other.top != nil && other.Mount == t.Mount {
			return true
		}
	}
	return false
}

// Add fills an empty snapshot with what a source has found. It reads procfs only of
// processes that may be the kubelet or the Docker daemon, and of descriptors whose path
// matters, which w shows.
func (s *ProcSnapshot) Add(scan openfiles.Scan, w *procwalk.Walker) {
	s.walker = w
	known := make([]*process, len(scan.Processes))
	of := func(i int) *process {
		if known[i] == nil {
			p := &scan.Processes[i]
			known[i] = s.newProcess(p.PID, p.Start, p.Comm, p.Cgroup, p.Terminal)
		}
		return known[i]
	}
	for i := range scan.Processes {
		if p := &scan.Processes[i]; hostconfig.KubeletNames[p.Comm] || p.Comm == "dockerd" {
			s.hostProcessAt(p.PID, p.Start)
		}
	}
	byProcess := func(a, b openfiles.File) int { return cmp.Compare(a.Process, b.Process) }
	if !slices.IsSortedFunc(scan.Files, byProcess) {
		slices.SortStableFunc(scan.Files, byProcess)
	}
	last := -1
	for i := range scan.Files {
		f := &scan.Files[i]
		if f.Process != last {
			last = f.Process
			clear(s.opened)
			s.paths = 0
		}
		o := opening{
			fd: f.FD, file: hostfs.Inode{Dev: f.Dev, Ino: f.Ino}, size: f.SizeBytes, links: f.Links, atime: f.Atime,
			pos: f.OffsetBytes, least: f.OffsetBytes, access: f.Flags & unix.O_ACCMODE,
		}
		var path []byte
		if f.Links == 0 {
			o.process = of(f.Process)
			if path = s.deleted(&o); path == nil && s.follow.known[o.file] == nil {
				continue
			}
		}
		s.record(o, path, func() *process { return of(f.Process) })
	}
	for _, in := range scan.Instances {
		s.watches = append(s.watches, watching{of(in.Process), in.Watches})
	}
	s.Unread = scan.UnreadInstances
	if scan.OmittedFiles > 0 {
		s.Omitted[OmittedOpenings] += scan.OmittedFiles
	}
}

// hostProcessAt looks whether a process is the kubelet or the Docker daemon.
func (s *ProcSnapshot) hostProcessAt(pid int, start uint64) {
	p, err := s.walker.Open(pid)
	if err != nil {
		return
	}
	defer p.Close()
	if st, err := p.Stat(); err == nil && st.Start == start {
		s.hostProcess(p, st)
	}
}

// deleted completes the opening of a deleted file with what procfs shows, and returns
// its last path. It returns nil where procfs does not show it, or it has too many. Only
// stat(2) counts the blocks of a file that are not on the disk yet, and has the device
// of a file of overlayfs.
func (s *ProcSnapshot) deleted(o *opening) []byte {
	st, path, ok := s.descriptorOf(o)
	if !ok || st.Nlink != 0 || !maybeLog(path) {
		return nil
	}
	o.file = hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
	o.size, o.blocks, o.atime = st.Size, st.Blocks*512, hostfs.Time(st.Atime)
	return bytes.TrimSuffix(path, deletedSuffix)
}

// lookUp gives an opening its path, where the source does not have it.
func (s *ProcSnapshot) lookUp(o *opening) {
	if o.path != "" || s.walker == nil {
		return
	}
	st, path, ok := s.descriptorOf(o)
	if ok && (hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}) == o.file {
		o.path = string(path)
	}
}

// descriptorOf returns what procfs shows of a descriptor, if the process is still the
// same.
func (s *ProcSnapshot) descriptorOf(o *opening) (st unix.Statx_t, path []byte, ok bool) {
	if s.lookups >= maxLookups {
		if s.lookups == maxLookups {
			s.lookups++
			s.Omitted[OmittedOpenings]++
		}
		return st, nil, false
	}
	s.lookups++
	p, err := s.walker.Open(o.pid)
	if err != nil {
		return st, nil, false
	}
	defer p.Close()
	if at, err := p.Stat(); err != nil || at.Start != o.start {
		return st, nil, false
	}
	if err := p.StatxFD(o.fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return st, nil, false
	}
	target, err := os.Readlink(filepath.Join(s.Procfs, strconv.Itoa(o.pid), "fd", strconv.Itoa(o.fd)))
	return st, []byte(target), err == nil
}
