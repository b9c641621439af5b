package inotify

// sum adds up per process and per account what the instances are. It asks the
// kernel nothing.
func (p *pass) sum(u *Usage, all []counted) {
	for i := range p.processes {
		l := &p.processes[i]
		l.Quality, l.WatchesQuality = Exact, Exact
		if !p.compared {
			l.Quality = UpperBound
		}
		if !u.Walk.ThreadsCompared {
			l.Quality = Estimate
		}
		if l.unread {
			l.Quality, l.WatchesQuality = Unknown, Unknown
		}
	}
	for i := range all {
		in := &all[i]
		creator, last := -1, -1
		for _, h := range in.Holders {
			// The descriptors of one process come one after the other.
			at := p.holdings[h].Process
			if at != last {
				p.processes[at].count(in)
			}
			if creator < 0 || p.processes[at].Start < p.processes[creator].Start {
				creator = at
			}
			last = at
		}
		p.processes[creator].created.count(in)
	}
	p.accounts(u)
	p.report(u)
}

func (l *listed) count(in *counted) {
	l.Instances++
	l.Watches += in.Watches
	l.WatchesQuality = Worse(l.WatchesQuality, in.quality)
	l.WatchesAgeSeconds = max(l.WatchesAgeSeconds, int64(in.Age.Seconds()))
}

// created is what is charged for the instances that a process seems to have
// created: of those that hold one, it has run longest.
type created struct {
	instances, watches, ageSeconds int64
	unknown                        bool // some watches are
}

func (c *created) count(in *counted) {
	c.instances++
	c.watches += in.Watches
	c.ageSeconds = max(c.ageSeconds, int64(in.Age.Seconds()))
	c.unknown = c.unknown || in.quality == Unknown
}

// accounts charges what was created to its owner and those of the user
// namespaces above.
func (p *pass) accounts(u *Usage) {
	index := p.s.accounts
	clear(index)
	u.Accounts = make([]Account, 0, 16)
	tops := make([]created, 0, 16) // the most of one process in each
	for i := range p.processes {
		l := &p.processes[i]
		if l.created.instances == 0 {
			continue
		}
		p.s.ns.charged(Owner{UserNS: l.UserNS, UID: l.UID}, func(o Owner) {
			at, ok := index[o]
			if !ok {
				at = len(u.Accounts)
				index[o] = at
				u.Accounts, tops = append(u.Accounts, p.account(o, u.Limits)), append(tops, created{})
			}
			addCreated(&u.Accounts[at], l, &tops[at])
		})
	}
	for i := range u.Accounts {
		u.Accounts[i].Quality = Worse(u.Accounts[i].InstancesQuality, u.Accounts[i].WatchesQuality)
	}
	sortAccounts(u.Accounts)
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

// addCreated charges what a process created. most is the most of one process so far.
func addCreated(a *Account, l *listed, most *created) {
	c := &l.created
	a.Instances += c.instances
	a.Watches += c.watches
	a.WatchesAgeSeconds = max(a.WatchesAgeSeconds, c.ageSeconds)
	if c.unknown {
		a.WatchesQuality = Unknown
	}
	if c.instances > most.instances {
		most.instances, a.TopPID = c.instances, l.PID
	}
	if c.watches > most.watches {
		most.watches, a.TopWatchesPID = c.watches, l.PID
	}
}
