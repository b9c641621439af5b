package inotify

import (
	"cmp"
	"slices"
)

// Charged is an account as the kernel has it.
type Charged struct {
	Owner
	Instances, Watches           int64
	InstancesLimit, WatchesLimit Limit
	// Level is how many user namespaces are above. What is charged to an
	// account is charged to one of each level above as well.
	Level int
}

// Ledger reads what the kernel has charged to every account.
type Ledger interface {
	Accounts() ([]Charged, error)
}

// NoLedger is a ledger that cannot be had, and says why.
type NoLedger struct{ Why error }

// Accounts returns the reason.
func (l NoLedger) Accounts() ([]Charged, error) { return nil, l.Why }

// SetLedger makes l the source of what accounts use and may use. Where it fails they
// are worked out from what processes hold, and the reason is
// [Usage].SourceReason.
func (s *Scanner) SetLedger(l Ledger) { s.ledger = l }

// charge asks the ledger, and reports whether it answered.
func (p *pass) charge(u *Usage) bool {
	if p.s.ledger == nil {
		return false
	}
	all, err := p.s.ledger.Accounts()
	if err != nil {
		u.SourceReason = err.Error()
		return false
	}
	u.charge(all)
	return true
}

// charge puts the kernel's figures in the place of those that were worked out
// from what processes hold. Who holds most of an account stays.
func (u *Usage) charge(all []Charged) {
	u.Source = SourceKernel
	held := make(map[Owner]*Account, len(u.Accounts))
	for i := range u.Accounts {
		held[u.Accounts[i].Owner] = &u.Accounts[i]
	}
	walked := u.Instances
	u.Instances, u.Watches = 0, 0
	u.InstancesQuality, u.WatchesQuality = Exact, Exact
	accounts := make([]Account, 0, len(all))
	for _, c := range all {
		a := Account{
			Owner: c.Owner, Instances: c.Instances, InstancesLimit: c.InstancesLimit, Watches: c.Watches, WatchesLimit: c.WatchesLimit,
			Quality: Exact, InstancesQuality: Exact, WatchesQuality: Exact, InstancesUnattributed: c.Instances,
		}
		if h := held[c.Owner]; h != nil {
			a.TopPID, a.TopWatchesPID = h.TopPID, h.TopWatchesPID
			a.InstancesUnattributed = max(0, c.Instances-h.Instances)
		}
		accounts = append(accounts, a)
		if c.Level == 0 {
			u.Instances += c.Instances
			u.Watches += c.Watches
		}
	}
	u.Accounts, u.InstancesUnattributed = accounts, max(0, u.Instances-walked)
	sortAccounts(u.Accounts)
}

func sortAccounts(all []Account) {
	slices.SortFunc(all, func(a, b Account) int {
		return cmp.Or(cmp.Compare(b.Instances, a.Instances), cmp.Compare(b.Watches, a.Watches),
			cmp.Compare(a.UserNS, b.UserNS), cmp.Compare(a.UID, b.UID))
	})
}
