package logs

import (
	"bytes"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// process is who holds a descriptor.
type process struct {
	pid     int
	start   uint64
	comm    string
	who     workload.Workload
	kubelet bool
}

// opening is one process that has one file open.
type opening struct {
	*process
	fd     int
	path   string // as PID/fd shows it: seen from that process
	file   hostfs.Inode
	size   uint64
	blocks uint64 // allocated bytes
	links  uint32
	pos    uint64
	access int // O_RDONLY, O_WRONLY or O_RDWR
}

// ProcSnapshot is what one walk of /proc shows about logs.
type ProcSnapshot struct {
	follow   *ReaderTracker
	pods     *workload.Index
	Procfs   string
	Kubelet  hostProcess
	Docker   hostProcess
	openings []opening
	watches  []watching

	held    []instances.Descriptor // of inotify instances
	holders []*process             // of each
	Unread  int                    // instances of which nobody knows what they watch

	current *process // whose descriptors are being visited
}

// watching is one inotify instance and what it watches. The device is the
// kernel's s_dev, which only mountinfo shows too: btrfs gives stat(2) another.
type watching struct {
	*process
	files []watched
}

type watched struct{ sdev, ino uint64 }

// ReaderTracker remembers between passes who follows which log.
type ReaderTracker struct {
	instances map[instance]*counted
	positions map[position]*progress
	alone     map[hostfs.Inode]*unreadLog
	Kubelet   hostProcess // of the last walk
	Collected bool        // somebody follows containers' logs, or did
}

type instance struct {
	tid   int
	start uint64
	fd    int
}

// counted is the last reading of an instance.
type counted struct {
	files []watched
	seen  bool
}

func NewReaderTracker() *ReaderTracker {
	return &ReaderTracker{instances: map[instance]*counted{}, positions: map[position]*progress{}, alone: map[hostfs.Inode]*unreadLog{}}
}

func (f *ReaderTracker) NewSnapshot(pods *workload.Index) *ProcSnapshot {
	return &ProcSnapshot{follow: f, pods: pods}
}

func (s *ProcSnapshot) Visitor() *procwalk.Visitor {
	return &procwalk.Visitor{Enter: s.enter, FD: s.descriptor}
}

func (s *ProcSnapshot) enter(p *procwalk.Process) bool {
	s.current = nil
	st, err := p.Stat()
	if err != nil || st.KernelThread {
		return false
	}
	s.hostProcess(p, st)
	return true
}

func (s *ProcSnapshot) owner(p *procwalk.Process) workload.Workload {
	cg, err := p.Cgroup()
	if err != nil {
		return workload.Workload{}
	}
	return s.pods.Named(workload.FromCgroupPath(string(cg)))
}

// who returns the process whose descriptors are being visited. It is asked for
// the few that hold a log only.
func (s *ProcSnapshot) who(p *procwalk.Process) *process {
	if s.current == nil {
		s.current = &process{pid: p.PID, who: s.owner(p)}
		if st, err := p.Stat(); err == nil {
			s.current.start, s.current.comm = st.Start, string(st.Comm())
		}
		s.current.kubelet = s.current.comm == "kubelet" && s.current.who.PodUID == ""
	}
	return s.current
}

var (
	deletedSuffix = []byte(" (deleted)")
	inotifyTarget = []byte("anon_inode:inotify")
)

func (s *ProcSnapshot) descriptor(p *procwalk.Process, fd int, target []byte) {
	if bytes.Equal(target, inotifyTarget) {
		s.instance(p, fd)
		return
	}
	if !maybeLog(target) {
		return
	}
	var st unix.Statx_t
	if err := p.StatxFD(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	info, err := p.FDInfo(fd)
	if err != nil || info.Flags&unix.O_PATH != 0 {
		return
	}
	if st.Nlink == 0 {
		target = bytes.TrimSuffix(target, deletedSuffix) // a file may be called so, too
	}
	s.openings = append(s.openings, opening{
		process: s.who(p), fd: fd, path: string(target),
		file: hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino},
		size: st.Size, blocks: st.Blocks * 512, links: st.Nlink,
		pos: uint64(info.Pos), access: int(info.Flags & unix.O_ACCMODE),
	})
}

// maybeLog leaves out what cannot be a log by its path. A collector in a
// container may see /var/log anywhere, so it is not a list of directories.
func maybeLog(target []byte) bool {
	switch {
	case len(target) == 0 || target[0] != '/':
		return false // socket:[1], anon_inode:…
	case bytes.HasPrefix(target, []byte("/dev/")), bytes.HasPrefix(target, []byte("/proc/")),
		bytes.HasPrefix(target, []byte("/sys/")), bytes.HasPrefix(target, []byte("/memfd:")):
		return false
	}
	return bytes.HasSuffix(target, deletedSuffix) ||
		bytes.Contains(target, []byte("/log")) || bytes.Contains(target, []byte(".log")) || bytes.Contains(target, []byte("/pods/"))
}

// logOf returns whose log a path is, wherever that process has /var/log/pods
// mounted.
func logOf(p string) workload.Workload {
	if l, ok := workload.ParseLogPath(p); ok {
		return l.Workload
	}
	// …/NAMESPACE_POD_UID/CONTAINER/N.log
	parts := strings.Split(p, "/")
	if n := len(parts); n >= 3 {
		if l, ok := workload.ParsePodLog(strings.Join(parts[n-3:], "/")); ok {
			return l.Workload
		}
	}
	return workload.Workload{}
}

// logFile is a log as the scan knows it.
type logFile struct {
	path string
	log  workload.Workload
	kind Kind
	file *file
	live bool // the one its container writes now
}

// logFiles returns every live file of the trees, by inode and by what a watch
// names.
func logFiles(trees map[string]*Tree, mounts []filesystem.Mount) (byInode map[hostfs.Inode]*logFile, byWatch map[watched]*logFile) {
	byInode, byWatch = map[hostfs.Inode]*logFile{}, map[watched]*logFile{}
	for _, t := range trees {
		sdev := uint64(0)
		if known, ok := filesystem.MountSDev(mounts, t.Mount); ok {
			sdev = known
		} else if m, ok := filesystem.MountOf(mounts, t.Host); ok {
			sdev = m.SDev()
		}
		t.each(func(d *dir) {
			newest, live := -1, (*logFile)(nil)
			for i := range d.live {
				f := &d.live[i]
				x := &logFile{path: d.path + "/" + f.String(), log: d.owner.Workload, kind: d.owner.kind, file: f}
				byInode[hostfs.Inode{Dev: unix.Mkdev(d.dev.major, d.dev.minor), Ino: f.ino}] = x
				byWatch[watched{sdev, f.ino}] = x
				if n, ok := restart(f.name); ok && d.owner.kind == KindContainer && n > newest {
					newest, live = n, x
				}
			}
			if live != nil {
				live.live = true
			}
		})
	}
	return byInode, byWatch
}

// restart returns the N of N.log, the name of a container's live log.
func restart(name []byte) (int, bool) {
	number, ok := bytes.CutSuffix(name, []byte(".log\x00"))
	if !ok || len(number) == 0 || len(number) > 9 {
		return 0, false
	}
	n := 0
	for _, c := range number {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
