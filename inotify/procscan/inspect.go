package procscan

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// Inspect looks at one process of u, the result of the pass right before, or
// at another one that holds too little to be listed there. It reads the names
// in PID/fd, which needs what listing descriptors needs.
func (s *Scanner) Inspect(pid int, u inotify.Usage) (inotify.ProcessDetail, error) {
	detail := inotify.ProcessDetail{LowestFD: -1}
	p, err := s.walker.Open(pid)
	if err != nil {
		return detail, err
	}
	defer p.Close()
	stat, err := p.Stat()
	if err != nil {
		return detail, fmt.Errorf("read the stat of process %d: %w", pid, err)
	}
	listed, ok := u.Process(pid)
	if !ok || listed.Start != stat.Start {
		if listed, err = s.unlisted(p, stat); err != nil {
			return detail, err
		}
	}
	detail.Process = listed
	if err := s.ns.resolve(p, listed.UserNS); err != nil {
		return detail, err
	}
	detail.Above = s.ns.chain
	dir := filepath.Join(s.procfs, strconv.Itoa(pid))
	if status, err := os.ReadFile(filepath.Join(dir, "status")); err == nil {
		detail.SysAdmin = listed.UserNS == s.ns.self && hasCapability(status, unix.CAP_SYS_ADMIN)
	}
	detail.FDsQuality = inotify.Unknown
	if fds, err := descriptors(filepath.Join(dir, "fd")); err == nil {
		detail.FDs, detail.LowestFD, detail.FDsQuality = int64(len(fds)), lowestFree(fds), inotify.Exact
	} else if n, ok := p.FDCount(); ok { // needs no permission to list them
		detail.FDs, detail.FDsQuality = int64(n), inotify.Exact
	} else if detail.FDs > 0 {
		detail.FDsQuality = inotify.Exact // the walk has counted them
	}
	// A pid that has been reused meanwhile would have mixed two processes.
	if _, err := p.UIDs(); err != nil {
		return detail, fmt.Errorf("process %d ended meanwhile: %w", pid, err)
	}
	return detail, nil
}

// UID returns the effective uid of a process.
func (s *Scanner) UID(pid int) (uint32, error) {
	p, err := s.walker.Open(pid)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	ids, err := p.UIDs()
	return ids.Effective, err
}

// AddProbe adds a user to probe: the next pass asks the kernel for the headroom
// of this user, see [inotify.Policy].ProbeUIDs.
func (s *Scanner) AddProbe(uid uint32) { s.policy.ProbeUIDs = append(s.policy.ProbeUIDs, uid) }

// unlisted is a process that holds no instance and few descriptors.
func (s *Scanner) unlisted(p *procwalk.Process, stat *procwalk.Stat) (inotify.Process, error) {
	ids, err := p.UIDs()
	if err != nil {
		return inotify.Process{}, fmt.Errorf("read the status of process %d: %w", p.PID, err)
	}
	q := inotify.Process{
		PID: p.PID, Start: stat.Start, UID: ids.Effective, UserNS: s.ns.self, Comm: string(stat.Comm()),
		NOFILESoft: inotify.NoLimit, NOFILEHard: inotify.NoLimit, Quality: inotify.Exact, WatchesQuality: inotify.Exact,
	}
	if ns, err := p.UserNS(); err == nil {
		q.UserNS = ns
	}
	if cgroup, err := p.Cgroup(); err == nil {
		q.Cgroup = string(cgroup)
	}
	q.CgroupWorkload, _ = p.Workload() // an unknown cgroup names no workload
	if soft, hard, err := p.NOFILE(); err == nil {
		q.NOFILESoft, q.NOFILEHard = limit(soft), limit(hard)
	}
	if !s.readable(p.PID) {
		q.Quality, q.WatchesQuality = inotify.Unknown, inotify.Unknown
	}
	return q, nil
}

// readable reports whether the walk could see what the descriptors of a process
// refer to: listing them is another permission than reading one (proc_pid_fd(5)).
func (s *Scanner) readable(pid int) bool {
	dir := filepath.Join(s.procfs, strconv.Itoa(pid), "fd")
	fds, err := descriptors(dir)
	if err == nil && len(fds) > 0 {
		_, err = os.Readlink(filepath.Join(dir, strconv.Itoa(fds[0])))
	}
	return !errors.Is(err, fs.ErrPermission)
}

// descriptors returns the numbers in a PID/fd.
func descriptors(path string) ([]int, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	names, err := dir.Readdirnames(-1)
	fds := make([]int, 0, len(names))
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil {
			fds = append(fds, fd)
		}
	}
	slices.Sort(fds)
	return fds, err
}

// lowestFree returns the lowest number that is not in fds, which is sorted.
func lowestFree(fds []int) int64 {
	for i, fd := range fds {
		if fd != i {
			return int64(i)
		}
	}
	return int64(len(fds))
}

// hasCapability reads the CapEff line of proc_pid_status(5).
func hasCapability(status []byte, capability uint) bool {
	for line := range bytes.Lines(status) {
		if mask, ok := bytes.CutPrefix(line, []byte("CapEff:")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(mask)), 16, 64)
			return err == nil && n>>capability&1 == 1
		}
	}
	return false
}
