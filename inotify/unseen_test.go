package inotify

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/procwalk"
)

func TestUnseen(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Usage, *Policy)
		want   string // "": all is seen
	}{
		{"all is seen", func(*Usage, *Policy) {}, ""},
		{"processes that cannot be read", func(u *Usage, _ *Policy) {
			u.Walk.Unreadable = []procwalk.Unreadable{{Reason: "refused", Processes: 3}, {Reason: "EIO", Processes: 1}}
		}, "4 of 9 processes"},
		{"the kernel counts what no process shows", func(u *Usage, _ *Policy) {
			u.Source, u.OwnPIDNamespace = SourceKernel, true
			u.Walk.Unreadable = []procwalk.Unreadable{{Reason: "refused", Processes: 3}}
		}, ""},
		{"a pid namespace of its own", func(u *Usage, _ *Policy) { u.OwnPIDNamespace = true }, "hostPID"},
		{"no limit of instances", func(u *Usage, _ *Policy) { u.Accounts[0].InstancesLimit = NoLimit }, "max_user_instances"},
		{"no limit of watches", func(u *Usage, _ *Policy) { u.Accounts[0].WatchesLimit = NoLimit }, "max_user_watches"},
		{"no limit, also of the kernel", func(u *Usage, _ *Policy) {
			u.Source, u.Accounts[0].WatchesLimit = SourceKernel, NoLimit
		}, "max_user_watches"},
		{"instances not counted", func(u *Usage, _ *Policy) { u.Accounts[0].InstancesQuality = Unknown }, "instances of uid 0"},
		{"watches not counted", func(u *Usage, _ *Policy) {
			u.Accounts[0].WatchesQuality, u.WatchesQuality = Unknown, Unknown
		}, "watches of uid 0"},
		{"watches not counted, those of the node fit", func(u *Usage, _ *Policy) {
			u.Accounts[0].WatchesQuality, u.WatchesQuality, u.Watches = Unknown, UpperBound, 500
		}, ""},
		{"watches not counted, those of the node do not fit", func(u *Usage, _ *Policy) {
			u.Accounts[0].WatchesQuality, u.WatchesQuality, u.Watches = Unknown, UpperBound, 900
		}, "watches of uid 0"},
		{"watches are not to be counted", func(u *Usage, p *Policy) {
			u.Accounts[0].WatchesQuality, u.WatchesQuality, p.CountWatches = Unknown, Unknown, false
		}, ""},
		{"the limit of a user namespace", func(u *Usage, _ *Policy) {
			u.Accounts[1].InstancesLimit, u.Accounts[1].WatchesLimit = NoLimit, NoLimit
			u.Accounts[1].InstancesQuality, u.Accounts[1].WatchesQuality = Unknown, Unknown
		}, ""},
	} {
		p := DefaultPolicy()
		u := Usage{
			Source: SourceProcfs, WatchesQuality: Exact, Limits: Limits{Instances: 100, Watches: 1000}, Walk: procwalk.Stats{Processes: 9},
			Accounts: []Account{
				{Instances: 5, InstancesLimit: 100, Watches: 5, WatchesLimit: 1000, InstancesQuality: Estimate, WatchesQuality: Estimate},
				{Owner: Owner{UserNS: 7, UID: 1000}, Level: 1, Instances: 1, InstancesLimit: 1, WatchesLimit: 1, InstancesQuality: Estimate, WatchesQuality: Estimate},
			},
		}
		c.change(&u, &p)
		got := Unseen(u, p)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
