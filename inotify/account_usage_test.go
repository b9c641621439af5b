package inotify

import (
	"testing"
)

// TestCharge: the kernel's figures replace those of the walk, and what the walk
// found that the kernel does not charge is gone.
func TestCharge(t *testing.T) {
	zero, other, below := Owner{UserNS: 1}, Owner{UserNS: 1, UID: 7}, Owner{UserNS: 2, UID: 9}
	u := Usage{
		Instances: 12, InstancesQuality: Estimate, WatchesQuality: Unknown,
		Accounts: []Account{
			{Owner: zero, Instances: 9, InstancesLimit: 128, TopPID: 4, TopWatchesPID: 5, InstancesQuality: Estimate, WatchesQuality: Unknown, WatchesAgeSeconds: 60},
			{Owner: other, Instances: 3, TopPID: 6},
		},
	}
	u.UseAccounts([]AccountUsage{
		{Owner: below, Instances: 2, Watches: 1, InstancesLimit: 5, WatchesLimit: 6, Level: 1},
		{Owner: zero, Instances: 14, Watches: 40, InstancesLimit: 130, WatchesLimit: 200},
	})
	if u.Source != SourceKernel || u.Instances != 14 || u.Watches != 40 || u.InstancesQuality != Exact || u.WatchesQuality != Exact || u.InstancesUnattributed != 2 {
		t.Errorf("got %+v", u)
	}
	if len(u.Accounts) != 2 {
		t.Fatalf("got %+v", u.Accounts)
	}
	want := Account{
		Owner: zero, Instances: 14, InstancesLimit: 130, Watches: 40, WatchesLimit: 200,
		Quality: Exact, InstancesQuality: Exact, WatchesQuality: Exact,
		InstancesUnattributed: 5, TopPID: 4, TopWatchesPID: 5,
	}
	if u.Accounts[0] != want {
		t.Errorf("got  %+v\nwant %+v", u.Accounts[0], want)
	}
	if a := u.Accounts[1]; a.Owner != below || a.InstancesLimit != 5 || a.TopPID != 0 || a.InstancesUnattributed != 2 {
		t.Errorf("got %+v", a)
	}
}
