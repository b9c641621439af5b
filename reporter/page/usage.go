package page

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter/text"
	"github.com/nodetune/nodetune/sysctl"
)

// nearPercent of a limit in use puts it on the page.
const nearPercent = 50

// farSeconds is two years: a limit that is met later is not forecast.
const farSeconds = 2 * 365 * 24 * 3600

// limits returns every limit that is near, and always the fullest one of each kind
// and the node's open files; the fullest first.
func limits(in Input) List[Limit] {
	u, ok := inotifyUsage(in)
	if !ok {
		return bounded[Limit](nil, 0)
	}
	// Only the rows that are shown are made.
	type candidate struct {
		percent  float64
		resource inotify.Resource
		at       int // of accounts or processes
		fullest  bool
	}
	var all []candidate
	fullest := map[inotify.Resource]int{}
	add := func(r inotify.Resource, i int, used int64, limit inotify.Limit) {
		c := candidate{limit.Percent(used), r, i, false}
		if at, ok := fullest[r]; !ok || c.percent > all[at].percent {
			fullest[r] = len(all)
		}
		all = append(all, c)
	}
	for i := range u.Accounts {
		a := &u.Accounts[i]
		add(inotify.Instances, i, a.Instances, a.InstancesLimit)
		add(inotify.Watches, i, a.Watches, a.WatchesLimit)
	}
	add(inotify.OpenFiles, 0, u.Limits.OpenFiles, u.Limits.FileMax)
	for _, at := range fullest {
		all[at].fullest = true
	}
	for i := range u.Processes {
		if p := &u.Processes[i]; p.NOFILESoft.Percent(p.FDs) >= nearPercent {
			add(inotify.NOFILE, i, p.FDs, p.NOFILESoft)
		}
	}
	all = slices.DeleteFunc(all, func(c candidate) bool { return !c.fullest && c.percent < nearPercent })
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.percent, a.percent) })
	rows := List[Limit]{Rows: []Limit{}}
	for _, c := range all {
		if len(rows.Rows) == maxLimits {
			rows.More++
			continue
		}
		rows.Rows = append(rows.Rows, limitRow(in, &u, c.resource, c.at))
	}
	return rows
}

// limitRow is the limit on r of the account or process at i.
func limitRow(in Input, u *inotify.Usage, r inotify.Resource, i int) Limit {
	l := Limit{Resource: r, Key: text.ResourceKey(r), Quality: inotify.Exact, Ceiling: inotify.NoLimit}
	switch r {
	case inotify.Instances, inotify.Watches:
		a := &u.Accounts[i]
		user := fmt.Sprintf("uid %d", a.UID)
		l.Owner = &a.Owner
		if r == inotify.Instances {
			l.Used, l.Limit, l.Quality, l.Top = a.Instances, a.InstancesLimit, a.InstancesQuality, topName(u, a.TopPID)
		} else {
			l.Used, l.Limit, l.Quality, l.Top = a.Watches, a.WatchesLimit, a.WatchesQuality, topName(u, a.TopWatchesPID)
		}
		if a.Growth != nil {
			l.PerHour = &a.Growth.Instances
			if r == inotify.Watches {
				l.PerHour = &a.Growth.Watches
			}
		}
		l.Name = nouns[r] + " of " + user
		if a.Level > 0 {
			l.Name = fmt.Sprintf("own %s of %s of user namespace %d", nouns[r], user, a.UserNS)
		} else {
			l.Ceiling = in.ceiling(l.Key)
		}
	case inotify.OpenFiles:
		l.Name, l.Used, l.Limit, l.PerHour, l.Top = "open files of the node", u.Limits.OpenFiles, u.Limits.FileMax, u.OpenFilesPerHour, topName(u, mostFDs(u))
	case inotify.NOFILE:
		p := &u.Processes[i]
		l.Name, l.PID, l.Used, l.Limit = "descriptors of "+processName(p), p.PID, p.FDs, p.NOFILESoft
		if p.Growth != nil {
			l.PerHour = &p.Growth.FDs
		}
	}
	l.Percent = l.Limit.Percent(l.Used)
	l.State = stateOfShare(l.Percent, in.Policy)
	if l.Quality == inotify.Unknown || l.Limit < 0 {
		l.State = Unknown
	}
	if l.PerHour != nil && *l.PerHour > 0 && l.Limit >= 0 {
		to := max(0, float64(int64(l.Limit)-l.Used) / *l.PerHour * 3600)
		if to < farSeconds {
			l.SecondsToFull = &to
		}
	}
	return l
}

// ceiling is up to where the agent raises key.
func (in Input) ceiling(key string) inotify.Limit {
	for resource, ceiling := range in.Snapshot.Ceilings(in.Policy) {
		if text.ResourceKey(resource) == key {
			return ceiling
		}
	}
	return inotify.NoLimit
}

// stateOfShare is the state of a limit of which percent are in use.
func stateOfShare(percent float64, p inotify.Policy) State {
	switch {
	case percent >= text.HotPercent:
		return Critical
	case percent >= p.PressurePercent:
		return Warning
	}
	return Healthy
}

func mostFDs(u *inotify.Usage) int {
	pid, most := 0, int64(0)
	for i := range u.Processes {
		if u.Processes[i].FDs > most {
			pid, most = u.Processes[i].PID, u.Processes[i].FDs
		}
	}
	return pid
}

func topName(u *inotify.Usage, pid int) string {
	if p, ok := u.Process(pid); ok {
		return processName(&p)
	}
	return ""
}

// processName is comm[pid] of its workload. The workload is from the cgroup, the
// comm is the program's own choice.
func processName(p *inotify.Process) string {
	s := fmt.Sprintf("%s[%d]", size{text: maxComm}.safe(p.Comm), p.PID)
	if w := workload.Name(p.Namespace, p.Pod, p.Container, p.Unit); w != "" {
		s += " of " + size{text: maxName}.safe(w)
	}
	return s
}

// A long name must not push out what the sentence says about it. The kernel keeps
// 15 bytes of a comm.
const (
	maxComm = 60
	maxName = 160
)

// consumers sums up the processes of each pod and unit, the largest share first.
func consumers(in Input) []Consumer {
	u, ok := inotifyUsage(in)
	if !ok {
		return nil
	}
	limitOf := make(map[inotify.Owner]*inotify.Account, len(u.Accounts))
	for i := range u.Accounts {
		limitOf[u.Accounts[i].Owner] = &u.Accounts[i]
	}
	type sum struct {
		Consumer
		most      int64
		instances map[inotify.Owner]int64
		watches   map[inotify.Owner]int64
		nofile    float64
	}
	byName := map[string]*sum{}
	for i := range u.Processes {
		p := &u.Processes[i]
		name := workload.Name(p.Namespace, p.Pod, "", p.Unit)
		if name == "" {
			name = fmt.Sprintf("uid %d outside of pods and units", p.UID)
		}
		c := byName[name]
		if c == nil {
			c = &sum{Consumer: Consumer{Name: shorten(name)}, most: -1, instances: map[inotify.Owner]int64{}, watches: map[inotify.Owner]int64{}}
			byName[name] = c
		}
		owner := inotify.Owner{UserNS: p.UserNS, UID: p.UID}
		c.Processes++
		c.Instances += p.Instances
		c.Watches += p.Watches
		c.FDs += p.FDs
		c.instances[owner] += p.Instances
		c.watches[owner] += p.Watches
		c.nofile = max(c.nofile, p.NOFILESoft.Percent(p.FDs))
		if p.Instances > c.most {
			c.most, c.PID = p.Instances, p.PID
		}
	}
	all := make([]Consumer, 0, len(byName))
	for _, c := range byName {
		for owner, n := range c.instances {
			if a := limitOf[owner]; a != nil {
				c.Percent = max(c.Percent, a.InstancesLimit.Percent(n), a.WatchesLimit.Percent(c.watches[owner]))
			}
		}
		all = append(all, c.Consumer)
	}
	slices.SortFunc(all, func(a, b Consumer) int {
		return cmp.Or(cmp.Compare(b.Percent, a.Percent), cmp.Compare(b.Instances, a.Instances), cmp.Compare(b.Watches, a.Watches), cmp.Compare(b.FDs, a.FDs), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// failures are the calls that a limit made fail, the latest first.
func failures(in Input) []Failure {
	u, ok := inotifyUsage(in)
	if !ok {
		return nil
	}
	var all []Failure
	for _, f := range text.LimitFailures(u.Refusals) {
		all = append(all, Failure{
			At: f.At, Process: failedProcess(&f), Call: f.Call, Errno: text.ErrnoName(f.Errno), Reason: shorten(text.SyscallFailureReason(f)), Count: f.Count,
		})
	}
	return all
}

func failedProcess(f *inotify.SyscallFailure) string {
	return processName(&inotify.Process{PID: f.PID, Comm: f.Comm, Namespace: f.Namespace, Pod: f.Pod, Container: f.Container, Unit: f.Unit})
}

// settings are the rules: those that are not met first.
func settings(in Input) []Setting {
	r, ok := sysctlResult(in)
	if !ok {
		return nil
	}
	var all, met []Setting
	for _, s := range r.Rules {
		row := Setting{Key: s.Key, Op: s.Op, Value: s.Value, Want: s.Want, Ceiling: s.Ceiling, Outcome: s.Outcome}
		if s.Op == sysctl.Report {
			row.Want, row.Ceiling = sysctl.Unknown, sysctl.Unknown
		}
		if s.Satisfied() {
			met = append(met, row)
			continue
		}
		row.Reason = shorten(s.Reason)
		all = append(all, row)
	}
	return append(all, met...)
}

// writers are the writes of other programs, the latest first.
func writers(in Input) []Writer {
	r, ok := sysctlResult(in)
	if !ok {
		return nil
	}
	var all []Writer
	for _, w := range slices.Backward(r.ObservedWrites) {
		all = append(all, Writer{At: w.Last, Key: w.Key, From: w.From, To: w.To, By: shorten(w.Writer()), Count: w.Count, BelowFloor: w.BelowFloor, Held: w.Held})
	}
	return all
}
