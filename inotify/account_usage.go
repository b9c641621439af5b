package inotify

import (
	"cmp"
	"slices"
)

// AccountUsage is an account as the kernel has it.
type AccountUsage struct {
	Owner
	Instances, Watches           int64
	InstancesLimit, WatchesLimit Limit
	// Level is how many user namespaces are above. What is charged to an
	// account is charged to one of each level above as well.
	Level int
}

// AccountSource reads what the kernel has charged to every account.
type AccountSource interface {
	Accounts() ([]AccountUsage, error)
}

// Unavailable is an account source that does not work here. Why is the reason.
type Unavailable struct{ Why error }

// Accounts returns the reason.
func (u Unavailable) Accounts() ([]AccountUsage, error) { return nil, u.Why }

// UseAccounts replaces the figures that were derived from what processes hold
// by the kernel's own. The top holders of an account stay.
func (u *Usage) UseAccounts(all []AccountUsage) {
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
			Owner: c.Owner, Level: c.Level, Instances: c.Instances, InstancesLimit: c.InstancesLimit, Watches: c.Watches, WatchesLimit: c.WatchesLimit,
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
	SortAccounts(u.Accounts)
}

// SortAccounts sorts the accounts by instances, then by watches, the most first.
func SortAccounts(all []Account) {
	slices.SortFunc(all, func(a, b Account) int {
		return cmp.Or(cmp.Compare(b.Instances, a.Instances), cmp.Compare(b.Watches, a.Watches),
			cmp.Compare(a.UserNS, b.UserNS), cmp.Compare(a.UID, b.UID))
	})
}
