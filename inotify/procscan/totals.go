package procscan

import (
	"fmt"

	"github.com/nodetune/nodetune/inotify"
)

// addTotals adds up per process and per account what the instances are. It asks the
// kernel nothing.
func (p *pass) addTotals(u *inotify.Usage, all []counted) {
	for i := range p.processes {
		l := &p.processes[i]
		l.Quality, l.WatchesQuality = inotify.Exact, inotify.Exact
		if !p.compared {
			l.Quality = inotify.UpperBound
		}
		if !u.Walk.ThreadsCompared {
			l.Quality = inotify.Estimate
		}
		if l.omitted {
			l.Quality = inotify.Unknown // a lower bound
		}
		if l.unread {
			l.Quality, l.WatchesQuality = inotify.Unknown, inotify.Unknown
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
	l.WatchesQuality = inotify.Worse(l.WatchesQuality, in.quality)
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
	c.unknown = c.unknown || in.quality == inotify.Unknown
}

// accounts charges what was created to its owner and those of the user
// namespaces above.
func (p *pass) accounts(u *inotify.Usage) {
	index := p.s.accounts
	clear(index)
	u.Accounts = make([]inotify.Account, 0, 16)
	tops := make([]created, 0, 16) // the most of one process in each
	for i := range p.processes {
		l := &p.processes[i]
		if l.created.instances == 0 {
			continue
		}
		p.s.ns.charged(inotify.Owner{UserNS: l.UserNS, UID: l.UID}, func(o inotify.Owner) {
			at, ok := index[o]
			if !ok && o.UserNS != p.s.ns.self && len(u.Accounts) >= maxAccounts {
				p.gap(gapAccounts, fmt.Sprintf("a pass adds up %d", maxAccounts))
				return
			}
			if !ok {
				at = len(u.Accounts)
				index[o] = at
				u.Accounts, tops = append(u.Accounts, p.account(o, u.Limits)), append(tops, created{})
			}
			addCreated(&u.Accounts[at], l, &tops[at])
		})
	}
	for i := range u.Accounts {
		u.Accounts[i].Quality = inotify.Worse(u.Accounts[i].InstancesQuality, u.Accounts[i].WatchesQuality)
	}
	inotify.SortAccounts(u.Accounts)
}

// account begins an account. A limit of the node applies to accounts of our
// own user namespace; one below has limits of its own (user.max_inotify_*),
// which only a process inside of it can read.
func (p *pass) account(o inotify.Owner, l inotify.Limits) inotify.Account {
	a := inotify.Account{
		Owner: o, InstancesLimit: inotify.NoLimit, WatchesLimit: inotify.NoLimit,
		// The charged uid and what is in flight are not to be seen.
		InstancesQuality: inotify.Estimate, WatchesQuality: inotify.Estimate,
	}
	if o.UserNS == p.s.ns.self {
		a.InstancesLimit, a.WatchesLimit = l.Instances, l.Watches
	} else {
		a.Level = max(1, len(p.s.ns.chain[o.UserNS]))
	}
	return a
}

// addCreated charges what a process created. most is the most of one process so far.
func addCreated(a *inotify.Account, l *listed, most *created) {
	c := &l.created
	a.Instances += c.instances
	a.Watches += c.watches
	a.WatchesAgeSeconds = max(a.WatchesAgeSeconds, c.ageSeconds)
	if c.unknown {
		a.WatchesQuality = inotify.Unknown
	}
	if c.instances > most.instances {
		most.instances, a.TopPID = c.instances, l.PID
	}
	if c.watches > most.watches {
		most.watches, a.TopWatchesPID = c.watches, l.PID
	}
}
