package procscan

import (
	"fmt"
	"slices"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/instances"
	"github.com/nodetune/nodetune/internal/procwalk"
)

const (
	// minFDs is the number of descriptors from which RLIMIT_NOFILE is read. No
	// usual limit is near to fewer, and most processes have fewer.
	minFDs = 48
	// mostFDs is how many of the processes with most descriptors are
	// listed, whatever their limit.
	mostFDs = 32
	// nearPercent of RLIMIT_NOFILE in use lists a process.
	nearPercent = 50

	// maxProcesses is how many processes are listed, maxOwnerProcesses how many
	// of one user beside root: a process that only shares an instance costs its
	// owner nothing, and 600 bytes here. A node has some hundreds.
	maxProcesses      = 8_192
	maxOwnerProcesses = 2_048
	// maxAccounts is how many accounts of user namespaces are added up; those
	// of the node itself are all added up.
	maxAccounts = 4_096
	// maxCgroupBytes is what the paths of cgroups may take, each kept once. A
	// path may have 4 kB.
	maxCgroupBytes = 2 << 20
)

// Gaps of what the bounds left out.
const (
	gapInstances = "inotify instances beyond those that a pass keeps"
	gapProcesses = "processes beyond those that a pass keeps"
	gapAccounts  = "accounts of user namespaces beyond those that a pass keeps"
	gapCgroups   = "cgroups of processes beyond those that a pass keeps"
)

// pass collects what one walk of a Scanner sees.
type pass struct {
	s         *Scanner
	at        time.Time
	found     *instances.Collector
	holdings  []instances.Descriptor // of found
	owners    map[uint32]int         // processes listed of each user
	processes []listed
	fullest   []int // indexes into processes, most descriptors first
	gaps      []inotify.Gap
	compared  bool // shared instances are counted once

	stats         procwalk.Stats // of the parts of the walk so far
	holdersReason string         // why the kernel does not show the holders

	// The process whose tables are being visited.
	pid        int
	refused    int // the last process that there was no room for
	current    int // its index in processes, or -1
	fds        int
	soft, hard inotify.Limit
	limited    bool // soft and hard have been read
}

// listed is a process that is reported.
type listed struct {
	inotify.Process
	effort  uint64 // ticks of CPU time it has used
	keep    bool   // not only for having been among the fullest
	unread  bool   // not all of its descriptors could be read
	omitted bool   // nor kept
	created created
}

func (p *pass) visitor() *procwalk.Visitor {
	return &procwalk.Visitor{Enter: p.enter, FD: p.fd, Leave: p.leave}
}

func (p *pass) enter(process *procwalk.Process) bool {
	if process.PID != p.pid {
		p.pid, p.current, p.fds, p.limited = process.PID, -1, 0, false
	}
	return true
}

// target is what proc_pid_fd(5) shows for an inotify instance.
const target = "anon_inode:inotify"

func (p *pass) fd(process *procwalk.Process, fd int, to []byte) {
	if string(to) != target || p.refused == p.pid || p.current < 0 && !p.list(process) {
		return
	}
	l := &p.processes[p.current]
	l.keep = true
	kept := p.found.Add(instances.Descriptor{
		Process: p.current, TID: process.TID, Start: l.Start, FD: fd, Effort: l.effort, Cgroup: l.Cgroup,
	})
	if !kept && !l.omitted {
		l.omitted = true
		p.gap(gapInstances, fmt.Sprintf("a pass keeps %d of a process and %d in all", instances.MaxPerProcess, instances.MaxInstances))
	}
}

func (p *pass) leave(process *procwalk.Process, fds int, err error) {
	p.fds = max(p.fds, fds)
	if p.current < 0 && p.fds < minFDs {
		return
	}
	if !p.limited {
		p.limited = true
		p.soft, p.hard = inotify.NoLimit, inotify.NoLimit
		soft, hard, failed := process.NOFILE()
		switch {
		case failed == nil:
			p.soft, p.hard = limit(soft), limit(hard)
		case !procwalk.Gone(failed):
			p.gap("RLIMIT_NOFILE of processes", "read PID/limits: "+failed.Error())
		}
	}
	near := p.soft.Percent(int64(p.fds)) >= nearPercent
	if p.current < 0 {
		if !near && len(p.fullest) == mostFDs && int64(p.fds) <= p.processes[p.fullest[mostFDs-1]].FDs {
			return
		}
		if !p.list(process) {
			return
		}
	}
	l := &p.processes[p.current]
	l.FDs, l.NOFILESoft, l.NOFILEHard = int64(p.fds), p.soft, p.hard
	l.unread = l.unread || err != nil
	l.keep = l.keep || near
	p.rankFDs()
}

// limit turns RLIM_INFINITY into no limit. RLIMIT_NOFILE is never that: the
// kernel bounds it by fs.nr_open.
func limit(v uint64) inotify.Limit {
	if v > 1<<63-1 {
		return inotify.NoLimit
	}
	return inotify.Limit(v)
}

// rankFDs puts the current process in its place among the fullest.
func (p *pass) rankFDs() {
	if at := slices.Index(p.fullest, p.current); at >= 0 {
		p.fullest = slices.Delete(p.fullest, at, at+1)
	}
	at := len(p.fullest)
	for at > 0 && p.processes[p.fullest[at-1]].FDs < p.processes[p.current].FDs {
		at--
	}
	if p.fullest = slices.Insert(p.fullest, at, p.current); len(p.fullest) > mostFDs {
		p.fullest = p.fullest[:mostFDs]
	}
}

// list adds the process to those reported and reports whether it could be
// read.
func (p *pass) list(process *procwalk.Process) bool {
	stat, err := process.Stat()
	if err != nil {
		return false
	}
	ids, err := process.UIDs()
	if err != nil {
		return false
	}
	if !p.room(ids.Effective) {
		return false
	}
	k := p.s.known[process.PID]
	if k == nil || k.start != stat.Start || k.comm != string(stat.Comm()) {
		k = &knownProcess{start: stat.Start, comm: string(stat.Comm())}
		if cgroup, err := process.Cgroup(); err == nil {
			k.cgroup = p.cgroup(cgroup)
		}
		k.belongs, _ = process.Workload() // an unknown cgroup names no workload
		p.s.known[process.PID] = k
	}
	k.pass = p.at
	// Not remembered: unshare(2) changes it without changing the program.
	userns, err := process.UserNS()
	if err == nil {
		err = p.s.ns.resolve(process, userns)
	} else {
		userns = p.s.ns.self
	}
	if err != nil && !procwalk.Gone(err) {
		p.gap("which user namespaces processes are charged in", err.Error())
	}
	p.current = len(p.processes)
	p.owners[ids.Effective]++
	p.processes = append(p.processes, listed{
		effort: stat.CPUTicks,
		Process: inotify.Process{
			PID: process.PID, Start: stat.Start, UID: ids.Effective, UserNS: userns,
			Comm: k.comm, Cgroup: k.cgroup, CgroupWorkload: k.belongs,
			NOFILESoft: inotify.NoLimit, NOFILEHard: inotify.NoLimit,
		},
	})
	return true
}

// room reports whether another process of a user may be listed.
func (p *pass) room(uid uint32) bool {
	if len(p.processes) < maxProcesses && (uid == 0 || p.owners[uid] < maxOwnerProcesses) {
		return true
	}
	if p.refused != p.pid { // one gap, however many tables it has
		p.refused = p.pid
		p.gap(gapProcesses, fmt.Sprintf("a pass keeps %d, and %d of a user", maxProcesses, maxOwnerProcesses))
	}
	return false
}

// cgroup returns the path of a cgroup, which all its processes share.
func (p *pass) cgroup(path []byte) string {
	if s, ok := p.s.cgroups[string(path)]; ok {
		return s
	}
	if p.s.cgroupBytes+len(path) > maxCgroupBytes {
		p.gap(gapCgroups, fmt.Sprintf("their paths take more than %d MiB", maxCgroupBytes>>20))
		return ""
	}
	s := string(path)
	p.s.cgroups[s] = s
	p.s.cgroupBytes += len(s)
	return s
}

// gap notes what could not be known, once per reason.
func (p *pass) gap(what, why string) {
	for i := range p.gaps {
		if p.gaps[i].What == what && p.gaps[i].Why == why {
			p.gaps[i].Processes++
			return
		}
	}
	p.gaps = append(p.gaps, inotify.Gap{What: what, Why: why, Processes: 1})
}

// SetAccountSource makes l the source of what accounts use and may use. Where it fails they
// are worked out from what processes hold, and the reason is
// [Usage].SourceReason.
func (s *Scanner) SetAccountSource(l inotify.AccountSource) { s.accountSource = l }

// readAccounts asks the ledger, and reports whether it answered.
func (p *pass) readAccounts(u *inotify.Usage) bool {
	if p.s.accountSource == nil {
		return false
	}
	all, err := p.s.accountSource.Accounts()
	if err != nil {
		u.SourceReason = err.Error()
		return false
	}
	u.UseAccounts(all)
	return true
}
