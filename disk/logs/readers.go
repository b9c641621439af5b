package logs

import (
	"bytes"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/openfiles"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// process is the holder of a descriptor.
type process struct {
	pid         int
	start       uint64
	comm        string
	who         workload.Workload
	kubelet     bool // the kubelet or Docker, which read for `kubectl logs -f` and `docker logs -f`
	interactive bool // a person runs it
}

// collects reports whether p can be a log collector.
func (p *process) collects() bool { return !p.kubelet && !p.interactive }

// opening is one process that has one file open, through one descriptor or many.
type opening struct {
	*process
	fd     int
	path   string // as PID/fd shows it: seen from that process
	file   hostfs.Inode
	size   uint64
	blocks uint64 // allocated bytes
	links  uint32
	pos    uint64 // the furthest of its descriptors
	least  uint64 // the least far of them
	access int    // O_RDONLY, O_WRONLY or O_RDWR
	atime  time.Time
}

// Bounds of what one walk remembers. A tenant can open the same files many times,
// below names as long as the kernel allows. A node of 250 pods has about 1,000 live
// logs and a handful of readers of each.
const (
	maxOpenings        = 20_000
	maxProcessOpenings = 8_192
	maxNameBytes       = 4 << 20
	maxProcessPaths    = 1 << 20
)

// Keys of Omitted.
const (
	OmittedOpenings  = "open log files"
	OmittedInstances = "inotify descriptors"
)

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
	Unread  int                    // instances whose watches are not known
	Omitted map[string]int         // descriptors beyond the bounds
	bound   instanceBound

	// same reports whether two descriptors of one thread are one instance; nil
	// where kcmp(2) cannot be asked.
	same    func(tid, a, b int) bool
	walker  *procwalk.Walker // of a snapshot from the kernel, to look up paths
	lookups int

	names     map[string]string // each path and cgroup once
	nameBytes int

	// Of the process whose descriptors are being visited:
	current  *process
	cgroup   string
	terminal bool               // its standard input or output is a terminal
	opened   map[openedFile]int // index into openings
	logs     int                // descriptors that look like logs
	paths    int
	last     *instances.Descriptor
}

type openedFile struct {
	file   hostfs.Inode
	access int
}

// watching is one inotify instance and what it watches. The device is the
// kernel's s_dev, which only mountinfo shows too: btrfs gives stat(2) another.
type watching struct {
	*process
	files []watched
}

type watched = openfiles.Watch

// ReaderTracker remembers between passes which process reads which log.
type ReaderTracker struct {
	// IsFile reports whether the path of the host, below the log directory top, is
	// the file at. It makes a file known that no scan has listed as a live log.
	IsFile func(top, path string, at hostfs.Inode) bool

	instances map[instance]*counted
	positions map[position]*progress
	alone     map[hostfs.Inode]*unreadLog
	known     map[hostfs.Inode]*knownLog // files that were seen in a log directory
	collected recency
	Kubelet   hostProcess // of the last walk
}

// knownLog is a file that was seen in a log directory, under whatever name or none
// it has now.
type knownLog struct {
	path string
	log  workload.Workload
	kind Kind
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

// NewReaderTracker returns a tracker that forgets a collector that was not seen for
// collectedFor.
func NewReaderTracker(collectedFor time.Duration) *ReaderTracker {
	return &ReaderTracker{
		instances: map[instance]*counted{}, positions: map[position]*progress{}, alone: map[hostfs.Inode]*unreadLog{},
		known: map[hostfs.Inode]*knownLog{}, collected: recency{most: collectedFor},
	}
}

// Collected reports whether the logs of containers are collected on this node, by
// what was seen lately.
func (f *ReaderTracker) Collected(now time.Time) bool { return f.collected.holds(now) }

// NewSnapshot returns an empty snapshot for one walk of the processes. pods names the
// pod of a process.
func (f *ReaderTracker) NewSnapshot(pods *workload.Index) *ProcSnapshot {
	return &ProcSnapshot{follow: f, pods: pods, names: map[string]string{}, opened: map[openedFile]int{}, Omitted: map[string]int{}, same: sameInstance}
}

// Visitor returns what the walk calls to fill the snapshot.
func (s *ProcSnapshot) Visitor() *procwalk.Visitor {
	return &procwalk.Visitor{Enter: s.enter, FD: s.descriptor}
}

func (s *ProcSnapshot) enter(p *procwalk.Process) bool {
	s.current, s.cgroup, s.terminal, s.last = nil, "", false, nil
	clear(s.opened)
	s.paths, s.logs, s.bound.ofProcess = 0, 0, 0
	st, err := p.Stat()
	if err != nil || st.KernelThread {
		return false
	}
	s.hostProcess(p, st)
	return true
}

// intern returns text as a string of which there is one.
func (s *ProcSnapshot) intern(text []byte) string {
	if known, ok := s.names[string(text)]; ok {
		return known
	}
	known := string(text)
	s.names[known] = known
	s.nameBytes += len(known)
	return known
}

// who returns the process whose descriptors are being visited. Only a process that
// holds a log or an inotify instance is looked at.
func (s *ProcSnapshot) who(p *procwalk.Process) *process {
	if s.current == nil {
		if cgroup, err := p.Cgroup(); err == nil {
			s.cgroup = s.intern(cgroup)
		}
		if st, err := p.Stat(); err == nil {
			s.current = s.newProcess(p.PID, st.Start, s.intern(st.Comm()), s.cgroup, s.terminal || st.Terminal)
		} else {
			s.current = &process{pid: p.PID, who: s.pods.Named(workload.FromCgroupPath(s.cgroup))}
		}
	}
	return s.current
}

// newProcess returns what both sources know of a process.
func (s *ProcSnapshot) newProcess(pid int, start uint64, comm, cgroup string, terminal bool) *process {
	who := s.pods.Named(workload.FromCgroupPath(cgroup))
	return &process{
		pid: pid, start: start, comm: comm, who: who,
		interactive: isInteractive(comm, terminal, cgroup),
		kubelet:     who.PodUID == "" && (hostconfig.KubeletNames[comm] || comm == "dockerd"),
	}
}

var (
	deletedSuffix = []byte(" (deleted)")
	inotifyTarget = []byte("anon_inode:inotify")
)

func (s *ProcSnapshot) descriptor(p *procwalk.Process, fd int, target []byte) {
	if fd <= 2 && (bytes.HasPrefix(target, []byte("/dev/pts/")) || bytes.HasPrefix(target, []byte("/dev/tty"))) {
		s.terminal = true
	}
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
	at := hostfs.Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
	// Where the process reads costs more than all else: 8 us of CPU.
	if s.logs++; s.logs > maxProcessOpenings && s.follow.known[at] == nil {
		s.Omitted[OmittedOpenings]++
		return
	}
	info, err := p.FDInfo(fd)
	if err != nil || info.Flags&unix.O_PATH != 0 {
		return
	}
	if st.Nlink == 0 {
		target = bytes.TrimSuffix(target, deletedSuffix) // a file may be called so, too
	}
	s.add(p, opening{
		fd:   fd,
		file: at,
		size: st.Size, blocks: st.Blocks * 512, links: st.Nlink, atime: hostfs.Time(st.Atime),
		pos: uint64(info.Pos), least: uint64(info.Pos), access: int(info.Flags & unix.O_ACCMODE),
	}, target)
}

// add records an opening of the process that is being visited: one for each process and file, whatever the number of its
// descriptors. What is beyond the bounds is counted. A file that was seen in a log
// directory needs no path, and no process can keep it from being recorded.
func (s *ProcSnapshot) add(p *procwalk.Process, o opening, path []byte) {
	s.record(o, path, func() *process { return s.who(p) })
}

// record is add for both sources.
func (s *ProcSnapshot) record(o opening, path []byte, who func() *process) {
	key := openedFile{o.file, o.access}
	if i, ok := s.opened[key]; ok {
		was := &s.openings[i]
		was.pos, was.least = max(was.pos, o.pos), min(was.least, o.pos)
		return
	}
	_, isLog := s.follow.known[o.file]
	if isLog && o.links > 0 {
		path = nil
	}
	cost := len(path)
	if _, ok := s.names[string(path)]; ok {
		cost = 0
	}
	if len(s.openings) >= maxOpenings && (!isLog || len(s.openings) >= 2*maxOpenings) ||
		len(s.opened) >= maxProcessOpenings && !isLog ||
		s.nameBytes+cost > maxNameBytes || s.paths+cost > maxProcessPaths {
		s.Omitted[OmittedOpenings]++
		return
	}
	s.paths += cost
	o.process, o.path = who(), s.intern(path)
	s.opened[key] = len(s.openings)
	s.openings = append(s.openings, o)
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

// logFile is a log as the scan knows it.
type logFile struct {
	knownLog
	file *file
	live bool // the one its container writes now
}

// logFiles returns every live file of the trees, by inode and by what a watch
// names.
func logFiles(trees map[string]*Tree, mounts []filesystem.Mount) (byInode map[hostfs.Inode]*logFile, byWatch map[watched]*logFile) {
	n := 0
	for _, t := range trees {
		n += t.live
	}
	byInode, byWatch = make(map[hostfs.Inode]*logFile, n), make(map[watched]*logFile, n)
	all := make([]logFile, 0, n)
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
				all = append(all, logFile{knownLog: knownLog{d.path + "/" + f.String(), d.owner.Workload, d.owner.kind}, file: f})
				x := &all[len(all)-1]
				byInode[hostfs.Inode{Dev: unix.Mkdev(d.dev.major, d.dev.minor), Ino: f.ino}] = x
				byWatch[watched{SDev: sdev, Ino: f.ino}] = x
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
