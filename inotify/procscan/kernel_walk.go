package procscan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/nodetune/nodetune/inotify"
)

// SetHolderSource makes h the source of the holders. If it fails, the pass walks
// procfs and the reason is in [inotify.Usage].HoldersReason.
func (s *Scanner) SetHolderSource(h inotify.HolderSource) { s.holderSource = h }

// scanKernel asks the kernel for the holders, and reports whether it answered.
func (p *pass) scanKernel(u *inotify.Usage) bool {
	if p.s.holderSource == nil {
		return false
	}
	held, err := p.s.holderSource.Holders()
	if err != nil {
		u.HoldersReason = err.Error()
		return false
	}
	u.Source, u.HoldersSource = inotify.SourceWalk, inotify.SourceWalk
	u.Walk = held.Walk
	maps.Copy(p.s.ns.chain, held.Above)
	// Instances in flight are not visible.
	u.InstancesQuality, u.WatchesQuality = inotify.Estimate, inotify.Estimate
	u.Instances = int64(len(held.Instances))
	p.compared = true
	uncounted := 0
	for i := range held.Instances {
		u.Watches += held.Instances[i].Watches
		if held.Instances[i].Uncounted {
			uncounted++
		}
	}
	if uncounted > 0 {
		p.gaps = append(p.gaps, inotify.Gap{What: "all watches of instances that have made and removed millions of them", Why: "they are spread too widely to be counted in a few milliseconds", Processes: uncounted})
	}
	p.gaps = append(p.gaps, held.Gaps...)
	p.addHolders(&held)
	p.attribute(u, &held)
	p.report(u)
	return true
}

// addHolders lists the processes with what they hold.
func (p *pass) addHolders(held *inotify.DescriptorTableScan) {
	for i := range held.Holders {
		h := &held.Holders[i]
		l := listed{Process: inotify.Process{
			PID: h.PID, Start: h.Start, UID: h.UID, UserNS: h.UserNS, Comm: h.Comm, Cgroup: h.Cgroup,
			FDs: h.FDs, NOFILESoft: h.NOFILESoft, NOFILEHard: h.NOFILEHard,
			Quality: inotify.Exact, WatchesQuality: inotify.Exact, Instances: int64(len(h.Instances)),
		}}
		for _, n := range h.Instances {
			in := &held.Instances[n]
			l.Watches += in.Watches
			if in.Uncounted {
				l.WatchesQuality = inotify.Estimate
			}
			p.s.queues.add(&l.Process, in, p.at)
		}
		l.keep = len(h.Instances) > 0 || h.NOFILESoft.Percent(h.FDs) >= nearPercent
		p.current = len(p.processes)
		p.processes = append(p.processes, l)
		p.rankFDs()
	}
	p.s.queues.forget(p.at)
}

// attribute adds up what each account is charged for and finds its top holders.
// Of several processes that share an instance, the oldest counts as its holder.
func (p *pass) attribute(u *inotify.Usage, held *inotify.DescriptorTableScan) {
	creator := make([]int, len(held.Instances))
	for i := range creator {
		creator[i] = -1
	}
	for i := range held.Holders {
		for _, n := range held.Holders[i].Instances {
			if c := creator[n]; c < 0 || held.Holders[i].Start < held.Holders[c].Start {
				creator[n] = i
			}
		}
	}
	type share struct{ account, process int }
	shares := make(map[share]created)
	index := p.s.accounts
	clear(index)
	u.Accounts = make([]inotify.Account, 0, 16)
	for n := range held.Instances {
		in := &held.Instances[n]
		charge := func(o inotify.Owner) {
			at, ok := index[o]
			if !ok {
				at = len(u.Accounts)
				index[o] = at
				u.Accounts = append(u.Accounts, p.account(o, u.Limits))
			}
			u.Accounts[at].Instances++
			u.Accounts[at].Watches += in.Watches
			s := shares[share{at, creator[n]}]
			s.instances++
			s.watches += in.Watches
			shares[share{at, creator[n]}] = s
		}
		charge(in.Creator)
		for _, above := range held.Above[in.Creator.UserNS] {
			charge(above)
		}
	}
	tops := make([]created, len(u.Accounts))
	for s, c := range shares {
		a, most, pid := &u.Accounts[s.account], &tops[s.account], held.Holders[s.process].PID
		if c.instances > most.instances || c.instances == most.instances && pid < a.TopPID {
			most.instances, a.TopPID = c.instances, pid
		}
		if c.watches > most.watches || c.watches == most.watches && c.watches > 0 && pid < a.TopWatchesPID {
			most.watches, a.TopWatchesPID = c.watches, pid
		}
	}
	for i := range u.Accounts {
		u.Accounts[i].Quality = inotify.Worse(u.Accounts[i].InstancesQuality, u.Accounts[i].WatchesQuality)
	}
	inotify.SortAccounts(u.Accounts)
}

// report sorts the processes that are reported.
func (p *pass) report(u *inotify.Usage) {
	for _, i := range p.fullest {
		p.processes[i].keep = true
	}
	u.Processes = make([]inotify.Process, 0, len(p.processes))
	for i := range p.processes {
		if p.processes[i].keep {
			u.Processes = append(u.Processes, p.processes[i].Process)
		}
	}
	slices.SortFunc(u.Processes, func(a, b inotify.Process) int {
		return cmp.Or(cmp.Compare(b.Instances, a.Instances), cmp.Compare(b.Watches, a.Watches),
			cmp.Compare(b.FDs, a.FDs), cmp.Compare(a.PID, b.PID))
	})
}
