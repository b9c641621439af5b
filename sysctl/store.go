package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/atomicfile"
)

// Names below Store's directory.
const (
	lockName      = "lock"           // held for a pass that writes
	agentName     = "agent"          // held by an agent as long as it runs
	pauseName     = "pause"          // stops every write while it exists
	originalsName = "originals.json" // what restore puts back
)

// Store is <rootfs>/run/nodetune, which every nodetune on a host shares: the
// lock of a pass, the presence of an agent, the pause switch and the originals.
// /run is empty after a boot, as the kernel's settings are. It is not safe for
// concurrent use.
type Store struct {
	root string // <rootfs>
	dir  string // <rootfs>/run/nodetune
	lock *os.File
}

// NewStore returns the store below rootfs. It touches nothing yet.
func NewStore(rootfs string) *Store {
	return &Store{root: rootfs, dir: filepath.Join(rootfs, "run", "nodetune")}
}

// Close closes the descriptors of s.
func (s *Store) Close() {
	if s.lock != nil {
		_ = s.lock.Close()
		s.lock = nil
	}
}

// Paused returns the file that stops every write, or "". It opens nothing, so
// that it also works where no descriptor is left. Where nodetune cannot determine
// whether the file exists, it counts as existing.
func (s *Store) Paused() string {
	name := filepath.Join(s.dir, pauseName)
	_, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return ""
	}
	return name
}

// open returns the directory, made where it is missing. Its path is resolved
// inside rootfs: a link cannot lead out of it.
func (s *Store) open() (*os.Root, error) {
	root, err := os.OpenRoot(s.root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	switch err := root.Mkdir("run/nodetune", 0o755); {
	case err == nil:
		// Independent of the umask: every user may check whether nodetune is paused.
		err = root.Chmod("run/nodetune", 0o755)
		if err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrNotExist):
		if err := root.Mkdir("run", 0o755); err != nil {
			return nil, err
		}
		return s.open()
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return root.OpenRoot("run/nodetune")
}

// LockedError reports that another nodetune holds a lock.
type LockedError struct {
	Lock string
	PID  int // 0 where it is not known, and of another pid namespace
}

func (h *LockedError) Error() string {
	by := "another nodetune"
	if h.PID > 0 {
		by = fmt.Sprintf("another nodetune (pid %d)", h.PID)
	}
	return fmt.Sprintf("%s holds %s", by, h.Lock)
}

// Lock waits until no other nodetune on the host is in a pass that writes, and
// keeps the others waiting until unlock. When ctx ends first the error is a
// [*LockedError].
func (s *Store) Lock(ctx context.Context) (unlock func(), err error) {
	// flock(2) cannot be interrupted by a context; 10 ms is below what a person
	// notices, and a pass takes less.
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		f, err := s.tryLock()
		if err == nil {
			return func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }, nil
		}
		if _, held := errors.AsType[*LockedError](err); !held {
			return nil, fmt.Errorf("lock %s: %w", s.dir, err)
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-retry.C:
		}
	}
}

// tryLock takes the lock through the descriptor that s keeps open, unless
// the file was removed since.
func (s *Store) tryLock() (*os.File, error) {
	if s.lock != nil && !current(s.lock, filepath.Join(s.dir, lockName)) {
		s.Close()
	}
	if s.lock == nil {
		f, err := s.openLock(lockName)
		if err != nil {
			return nil, err
		}
		s.lock = f
	}
	if err := flock(s.lock); err != nil {
		return nil, err
	}
	if !current(s.lock, filepath.Join(s.dir, lockName)) {
		s.Close() // removed between open and flock
		return s.tryLock()
	}
	return s.lock, nil
}

// AcquireAgentLock marks an agent as running until release is called. It returns
// a [*LockedError] where another agent runs. Others find the agent at url, which
// is "" where it does not listen.
func (s *Store) AcquireAgentLock(url string) (release func(), err error) {
	f, err := s.openLock(agentName)
	if err != nil {
		return nil, fmt.Errorf("mark the agent as running in %s: %w", s.dir, err)
	}
	if err := flock(f); err != nil {
		_ = f.Close()
		return nil, err
	}
	if ns, err := os.Readlink(netNamespace); err == nil && url != "" {
		if info, err := f.Stat(); err == nil {
			_, _ = f.WriteAt([]byte(ns+" "+url+"\n"), info.Size())
		}
	}
	return func() { _ = f.Close() }, nil
}

// netNamespace names the network namespace of this process: an agent in a pod listens in
// that of its pod.
const netNamespace = "/proc/self/ns/net"

// maxAgentBytes bounds what is read of an agent's lock: two lines.
const maxAgentBytes = 512

// AgentURL is where the agent of this host answers. It is "" where none runs, where it
// listens in another network namespace, and for anyone but root. What answers there after
// the agent has ended is somebody else: so the lock has to be held.
func (s *Store) AgentURL() string {
	f, err := os.Open(filepath.Join(s.dir, agentName))
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxAgentBytes))
	if err != nil || !locked(f) {
		return ""
	}
	_, second, _ := strings.Cut(string(b), "\n")
	of, url, _ := strings.Cut(strings.TrimSpace(second), " ")
	if ns, err := os.Readlink(netNamespace); err != nil || of != ns {
		return ""
	}
	return url
}

// AgentRuns reports whether an agent runs on this host, which only root sees.
func (s *Store) AgentRuns() bool {
	f, err := os.Open(filepath.Join(s.dir, agentName))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return locked(f)
}

func (s *Store) openLock(name string) (*os.File, error) {
	dir, err := s.open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("%w: run it as root", err)
	}
	return f, err
}

// flock locks f without waiting and writes this pid and its namespace into it,
// for the message of a process that finds it locked: a pod's pid 1 is not the
// host's.
func flock(f *os.File) error {
	ns, _ := os.Readlink("/proc/self/ns/pid") // "" compares as well
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		var buf [64]byte
		n, _ := f.ReadAt(buf[:], 0)
		held := &LockedError{Lock: f.Name()}
		first, _, _ := strings.Cut(string(buf[:n]), "\n")
		if pid, of, _ := strings.Cut(first, " "); of == ns {
			held.PID, _ = strconv.Atoi(pid)
		}
		return held
	}
	if err != nil {
		return err
	}
	_ = f.Truncate(0)
	_, _ = fmt.Fprintf(&at{f}, "%d %s\n", os.Getpid(), ns)
	return nil
}

// locked reports whether a process has the lock of f. Trying to take it would keep an agent
// from starting in that moment.
func locked(f *os.File) bool {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false
	}
	b, err := os.ReadFile("/proc/locks") // proc_locks(5)
	if err != nil {
		return false
	}
	inode := fmt.Sprintf(":%d", st.Ino)
	for line := range strings.Lines(string(b)) {
		// 1: FLOCK  ADVISORY  WRITE 1234 00:19:1500 0 EOF
		if fields := strings.Fields(line); len(fields) > 5 && fields[1] == "FLOCK" && strings.HasSuffix(fields[5], inode) {
			return true
		}
	}
	return false
}

// at writes at the start of a file.
type at struct{ f *os.File }

func (a *at) Write(b []byte) (int, error) { return a.f.WriteAt(b, 0) }

// current reports whether name still names f.
func current(f *os.File, name string) bool {
	a, errA := f.Stat()
	b, errB := os.Lstat(name)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// maxOriginalsBytes is far above the some 60 keys that can be configured.
const maxOriginalsBytes = 1 << 20

// Originals reads the record. None is not an error.
func (s *Store) Originals() (Originals, error) {
	f, err := os.Open(filepath.Join(s.dir, originalsName))
	if errors.Is(err, fs.ErrNotExist) {
		return Originals{}, nil
	}
	if err != nil {
		return Originals{}, err
	}
	defer func() { _ = f.Close() }()
	o, err := parseOriginals(f)
	if err != nil {
		return Originals{}, fmt.Errorf("%s: %w: remove it if you do not need restore", f.Name(), err)
	}
	return o, nil
}

func (s *Store) putOriginals(o Originals) error {
	dir, err := s.open()
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if len(o.Keys) == 0 {
		return atomicfile.Remove(dir, originalsName)
	}
	b, err := o.encode()
	if err != nil {
		return err
	}
	return atomicfile.Write(dir, originalsName, b, 0o644)
}
