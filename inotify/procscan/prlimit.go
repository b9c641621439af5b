package procscan

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// ErrGone says that the process has ended, which is normal.
var ErrGone = errors.New("the process has ended")

// RaiseNOFILE raises the soft RLIMIT_NOFILE of one process with prlimit(2) and
// returns what it is afterwards. It never lowers, and never changes the hard
// limit. It needs Linux 5.3 (pidfd_open(2)), pids that are this procfs' own
// (hostPID in a pod), and the process' user and group ids, or CAP_SYS_RESOURCE
// in its user namespace.
func (s *Scanner) RaiseNOFILE(r inotify.NOFILERaise) (inotify.Limit, error) {
	if !s.walker.InHostPIDNamespace() {
		return inotify.NoLimit, errors.New("raise RLIMIT_NOFILE: the pids here are those of another pid namespace: it needs hostPID")
	}
	// prlimit(2) takes a pid, which another process may have by now. A pidfd
	// that is alive after the call proves that no other process had it.
	fd, err := unix.PidfdOpen(r.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return inotify.NoLimit, ErrGone
	}
	if err != nil {
		return inotify.NoLimit, fmt.Errorf("open process %d (pidfd_open(2), Linux 5.3): %w", r.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	uids, err := s.same(r)
	if err != nil {
		return inotify.NoLimit, err
	}
	var is unix.Rlimit
	if err := unix.Prlimit(r.PID, unix.RLIMIT_NOFILE, nil, &is); err != nil {
		return inotify.NoLimit, prlimitProblem(r.PID, uids, err)
	}
	to := unix.Rlimit{Cur: min(uint64(r.To), is.Max), Max: is.Max}
	if to.Cur > is.Cur {
		if err := unix.Prlimit(r.PID, unix.RLIMIT_NOFILE, &to, nil); err != nil {
			return inotify.NoLimit, prlimitProblem(r.PID, uids, err)
		}
		if err := unix.Prlimit(r.PID, unix.RLIMIT_NOFILE, nil, &is); err != nil {
			return inotify.NoLimit, prlimitProblem(r.PID, uids, err)
		}
	}
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); errors.Is(err, unix.ESRCH) {
		return inotify.NoLimit, ErrGone
	}
	return limit(is.Cur), nil
}

// same returns the ids of the process, if it is still the one meant.
func (s *Scanner) same(r inotify.NOFILERaise) (procwalk.UIDs, error) {
	p, err := s.walker.Open(r.PID)
	if err != nil {
		return procwalk.UIDs{}, gone(err)
	}
	defer p.Close()
	stat, err := p.Stat()
	if err != nil {
		return procwalk.UIDs{}, gone(err)
	}
	if stat.Start != r.Start {
		return procwalk.UIDs{}, ErrGone
	}
	uids, err := p.UIDs()
	return uids, gone(err)
}

func gone(err error) error {
	if procwalk.Gone(err) {
		return ErrGone
	}
	return err
}

// prlimitProblem says what is missing. The kernel compares the caller's real
// ids with all of the target's (check_prlimit_permission in kernel/sys.c), and
// says EPERM whichever differs.
func prlimitProblem(pid int, uids procwalk.UIDs, err error) error {
	if errors.Is(err, unix.ESRCH) {
		return ErrGone
	}
	if !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("raise RLIMIT_NOFILE of process %d: %w", pid, err)
	}
	me := uint32(unix.Getuid())
	if uids.Real != me || uids.Effective != me || uids.Saved != me {
		return fmt.Errorf("raise RLIMIT_NOFILE of process %d: it runs as uid %d and nodetune as %d: that needs CAP_SYS_RESOURCE: %w", pid, uids.Effective, me, err)
	}
	return fmt.Errorf("raise RLIMIT_NOFILE of process %d: its uid is nodetune's, but its gid is another: that needs CAP_SYS_RESOURCE: %w", pid, err)
}
