package inotify

import (
	"cmp"
	"slices"
)

// sum adds up per process, per account and for the node what the instances
// are. It asks the kernel nothing.
func (p *pass) sum(u *Usage, instances []instance) {
	for i := range p.processes {
		l := &p.processes[i]
		l.Quality, l.WatchesQuality = Exact, Exact
		if !p.compared {
			l.Quality = UpperBound
		}
		if !u.Walk.ThreadsCompared {
			l.Quality = Estimate
		}
	}
	accounts := make([]Account, 0, 16)
	tops := make([]top, 0, 16)
	for i := range instances {
		in := &instances[i]
		creator := p.holdings[in.holders[0]].process
		for n, h := range in.holders {
			at := p.holdings[h].process
			if p.processes[at].Start < p.processes[creator].Start {
				creator = at
			}
			if n == 0 || !p.holds(in.holders[:n], at) {
				p.processes[at].count(in)
			}
		}
		c := &p.processes[creator]
		p.s.ns.charged(Owner{UserNS: c.UserNS, UID: c.UID}, func(o Owner) {
			at := slices.IndexFunc(accounts, func(a Account) bool { return a.Owner == o })
			if at < 0 {
				at = len(accounts)
				accounts, tops = append(accounts, p.account(o, u.Limits)), append(tops, top{})
			}
			accounts[at].count(in)
			tops[at].add(creator, in.watches)
		})
	}
	for i := range accounts {
		a := &accounts[i]
		a.TopPID, a.TopWatchesPID = tops[i].pids(p.processes)
		a.Quality = Worse(a.InstancesQuality, a.WatchesQuality)
	}
	slices.SortFunc(accounts, func(a, b Account) int {
		return cmp.Or(cmp.Compare(b.Instances, a.Instances), cmp.Compare(b.Watches, a.Watches),
			cmp.Compare(a.UserNS, b.UserNS), cmp.Compare(a.UID, b.UID))
	})
	u.Accounts = accounts

	for _, i := range p.fullest {
		p.processes[i].keep = true
	}
	u.Processes = make([]Process, 0, len(p.processes))
	for i := range p.processes {
		if p.processes[i].keep {
			u.Processes = append(u.Processes, p.processes[i].Process)
		}
	}
	slices.SortFunc(u.Processes, func(a, b Process) int {
		return cmp.Or(cmp.Compare(b.Instances, a.Instances), cmp.Compare(b.Watches, a.Watches),
			cmp.Compare(b.FDs, a.FDs), cmp.Compare(a.PID, b.PID))
	})
}

// holds reports whether a process is among these holders.
func (p *pass) holds(holders []int, process int) bool {
	return slices.ContainsFunc(holders, func(h int) bool { return p.holdings[h].process == process })
}

// account begins an account. A limit of the node applies to accounts of our
// own user namespace; one below has limits of its own (user.max_inotify_*),
// which only a process inside of it can read.
func (p *pass) account(o Owner, l Limits) Account {
	a := Account{
		Owner: o, InstancesLimit: NoLimit, WatchesLimit: NoLimit,
		// The charged uid and what is in flight are not to be seen.
		InstancesQuality: Estimate, WatchesQuality: Estimate,
	}
	if o.UserNS == p.s.ns.self {
		a.InstancesLimit, a.WatchesLimit = l.Instances, l.Watches
	}
	return a
}

func (a *Account) count(in *instance) {
	a.Instances++
	a.Watches += in.watches
	a.WatchesAgeSeconds = max(a.WatchesAgeSeconds, in.ageSeconds)
	if in.quality == Unknown {
		a.WatchesQuality = Unknown
	}
}

func (l *listed) count(in *instance) {
	l.Instances++
	l.Watches += in.watches
	l.WatchesQuality = Worse(l.WatchesQuality, in.quality)
	l.WatchesAgeSeconds = max(l.WatchesAgeSeconds, in.ageSeconds)
}

// top finds who holds most of an account. An account has few holders or is
// walked once, so a list is enough.
type top struct{ held []share }

type share struct {
	process            int
	instances, watches int64
}

func (t *top) add(process int, watches int64) {
	// Instances of one process mostly come one after the other.
	for i := len(t.held) - 1; i >= 0; i-- {
		if t.held[i].process == process {
			t.held[i].instances++
			t.held[i].watches += watches
			return
		}
	}
	t.held = append(t.held, share{process, 1, watches})
}

func (t *top) pids(processes []listed) (instances, watches int) {
	var mostInstances, mostWatches int64
	for _, s := range t.held {
		if s.instances > mostInstances {
			mostInstances, instances = s.instances, processes[s.process].PID
		}
		if s.watches > mostWatches {
			mostWatches, watches = s.watches, processes[s.process].PID
		}
	}
	return instances, watches
}
