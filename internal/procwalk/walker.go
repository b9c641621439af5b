package procwalk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Walker walks one procfs mount. It keeps the mount's root open, so that a
// walk works when no path can be looked up any more, and reuses its buffers:
// one walk at a time, a second one waits.
type Walker struct {
	mu      sync.Mutex
	root    int
	self    int
	ours    bool
	fdCount bool

	pids   []byte // entries of /proc
	listed []int  // the pids of those that are to be visited
	tids   []byte // entries of PID/task
	dents  []byte // entries of PID/fd
	link   []byte // what a descriptor refers to
	record []byte // fdinfo
	ns     []byte // link of a namespace
	small  []byte
	name   []byte
	reader fdReader
	rlimit unix.Rlimit // here for the same reason as the buffers: the system call's argument escapes
	opened Process     // by Open
	most   int         // descriptors of one process that a walk shows although its time is over
	tables []int       // threads with a table of their own, in the order of kcmp(2)
}

// New opens a procfs mount.
func New(procfs string) (*Walker, error) {
	root, err := unix.Open(procfs, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: procfs, Err: err}
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(root, &fs); err != nil {
		closefd(root)
		return nil, &os.PathError{Op: "statfs", Path: procfs, Err: err}
	}
	w := &Walker{
		root: root, most: cutAfter,
		// 32 KiB is what getdents64 readers commonly use; larger buffers
		// did not make the walk faster.
		pids:  make([]byte, 32<<10),
		tids:  make([]byte, 8<<10),
		dents: make([]byte, 32<<10),
		// d_path(9) writes at most a page.
		link: make([]byte, unix.PathMax),
		// Read in 64 KiB pieces a record costs as little as it does in one.
		record: make([]byte, 64<<10),
		ns:     make([]byte, 64),
		small:  make([]byte, 0, 4<<10),
		name:   make([]byte, 0, 64),
	}
	if fs.Type == unix.PROC_SUPER_MAGIC {
		w.self = w.findSelf()
		w.ours = w.self == os.Getpid() && w.seesOneNamespace()
		w.fdCount = w.givesFDCount()
	}
	return w, nil
}

// Close closes the mount.
func (w *Walker) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return unix.Close(w.root)
}

// InHostPIDNamespace reports whether the pids in this procfs are the ones that this process
// would hand to the kernel. They are not where another pid namespace's procfs
// is mounted, as with a hostPath of /proc in a pod without hostPID; calls
// that take a pid would then reach another process.
func (w *Walker) InHostPIDNamespace() bool { return w.ours }

// Self is the pid that this process has in this procfs, which is not
// os.Getpid() where pids are not ours; 0 where this process is not in it.
func (w *Walker) Self() int { return w.self }

func (w *Walker) findSelf() int {
	n, err := readlinkat(w.root, []byte("self\x00"), w.link)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(string(w.link[:n]))
	return pid
}

// seesOneNamespace: the NSpid line of PROC/self counts a single namespace (a
// coincidence of numbers alone would not do).
func (w *Walker) seesOneNamespace() bool {
	b, err := appendAll(w.root, []byte("self/status\x00"), w.small)
	return err == nil && parseNSPids(b) == 1
}

// givesFDCount: we have descriptors open, so a size of 0 is that of a kernel
// before 6.2.
func (w *Walker) givesFDCount() bool {
	var st unix.Stat_t
	return fstatat(w.root, []byte("self/fd\x00"), &st) == nil && st.Size > 0
}

// Visitor is called with what a walk meets. Functions that are nil are not called.
type Visitor struct {
	// Enter is called for every table, before its descriptors. Where it
	// returns false they are not read; a nil Enter wants them all.
	Enter func(p *Process) bool
	// FD is called for every descriptor with what it refers to, as in
	// PID/fd (proc_pid_fd(5)); target is valid during the call only.
	FD func(p *Process, fd int, target []byte)
	// Leave is called after the descriptors, if Enter returned true. fds is
	// their number. With err they were not all shown, because of a missing
	// capability, without which their number is known since 6.2 only, or
	// since the process ended; or, with [ErrCut], the time was over.
	Leave func(p *Process, fds int, err error)

	// From is the pid to begin with: that of [Stats].Next resumes a walk that was cut.
	From int
	// Expired reports whether the walk is to end. It is asked before every process but
	// the first one, and within a process of which much was shown already. A nil Expired
	// never ends it.
	Expired func() bool
}

// ErrCut is a process of which the time left out some descriptors.
var ErrCut = errors.New("the time for the walk is over")

// cutAfter is how many descriptors and threads of one process are shown even where the
// time is over, which takes 0.2 s of CPU. A cut would else hide the descriptors of a
// process that has few.
const cutAfter = 65_536

// Stats says how much a walk saw.
type Stats struct {
	Processes int `json:"processes"`
	Tables    int `json:"tables"` // Processes and the threads with one of their own
	FDs       int `json:"fds"`
	Gone      int `json:"gone"` // ended during the walk; normal
	// Omitted is how many processes were not visited, since [Visitor].Expired ended the
	// walk, and Next the pid of the first of them; 0 where the walk is complete.
	Omitted int `json:"omitted,omitempty"`
	Next    int `json:"-"`
	// Cut is how many processes were visited in part, since that was so within them.
	Cut int `json:"cut,omitempty"`
	// Unreadable counts the processes whose descriptors could not be read.
	Unreadable []Unreadable `json:"unreadable"`
	// ThreadsCompared is false where kcmp(2) was not possible and a thread
	// was taken to share the descriptors of its process if their number is
	// the same, or if not even that was known.
	ThreadsCompared bool `json:"threads_compared"`
}

// Unreadable is a reason and how often it was met.
type Unreadable struct {
	Reason    string `json:"reason"`
	Processes int    `json:"processes"`
}

func (s *Stats) failed(reason string, processes int) {
	for i := range s.Unreadable {
		if s.Unreadable[i].Reason == reason {
			s.Unreadable[i].Processes += processes
			return
		}
	}
	s.Unreadable = append(s.Unreadable, Unreadable{reason, processes})
}

// Add adds the part of a walk that follows s.
func (s *Stats) Add(part Stats) {
	s.Processes += part.Processes
	s.Tables += part.Tables
	s.FDs += part.FDs
	s.Gone += part.Gone
	s.Cut += part.Cut
	s.Omitted, s.Next = part.Omitted, part.Next
	s.ThreadsCompared = s.ThreadsCompared && part.ThreadsCompared
	for _, u := range part.Unreadable {
		s.failed(u.Reason, u.Processes)
	}
}

// Walk visits every process once, by ascending pid, and every thread with a descriptor table of
// its own. Processes that start or end meanwhile may be missed: /proc is not a
// snapshot. The error is that of ctx or of reading the root; no single process
// fails a walk.
func (w *Walker) Walk(ctx context.Context, v *Visitor) (Stats, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stats := Stats{ThreadsCompared: w.ours}
	if _, err := unix.Seek(w.root, 0, 0); err != nil {
		return stats, fmt.Errorf("rewind the root of procfs: %w", err)
	}
	round := round{ctx: ctx, w: w, stats: &stats, visitor: v}
	w.listed = w.listed[:0]
	err := numbered(w.root, w.pids, func(pid int, _ []byte) bool {
		if pid >= v.From {
			w.listed = append(w.listed, pid)
		}
		return true
	})
	if err != nil {
		return stats, fmt.Errorf("list processes: %w", err)
	}
	slices.Sort(w.listed) // as procfs lists them
	for i, pid := range w.listed {
		if ctx.Err() != nil {
			break
		}
		if i > 0 && v.Expired != nil && v.Expired() {
			stats.Omitted, stats.Next = len(w.listed)-i, pid
			break
		}
		round.process(pid)
	}
	return stats, ctx.Err()
}

// Open opens one process, or thread, outside of a walk. Close it with [Process.Close];
// meanwhile no walk runs.
func (w *Walker) Open(pid int) (*Process, error) {
	w.mu.Lock()
	dir, err := openat(w.root, appendPID(w.name[:0], pid), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		w.mu.Unlock()
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	w.opened = Process{w: w, PID: pid, TID: pid, dir: dir, table: dir}
	return &w.opened, nil
}

// Close closes a process opened with [Walker.Open].
func (p *Process) Close() {
	closefd(p.dir)
	p.w.mu.Unlock()
}

// Gone reports whether err says that the process ended, which is normal.
func Gone(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT)
}
