// Package reportertest has the nodes that several tests of the reporter look at:
// what the passes of sysctl, inotify and disk would return there.
package reportertest

import (
	"github.com/nodetune/nodetune/inotify"
)

// Accounts is a node where uid 0 uses so many instances of 128 and watches of
// 8192; top, if there is one, holds the most of both.
func Accounts(instances, watches int64, top *inotify.Process) inotify.Usage {
	u := inotify.Usage{
		Limits: inotify.Limits{Instances: 128, Watches: 8192, FileMax: 1000, OpenFiles: 10},
		Accounts: []inotify.Account{{
			Owner:     inotify.Owner{UID: 0},
			Instances: instances, InstancesLimit: 128, InstancesQuality: inotify.Exact,
			Watches: watches, WatchesLimit: 8192, WatchesQuality: inotify.Exact,
		}},
	}
	if top != nil {
		u.Processes = []inotify.Process{*top}
		u.Accounts[0].TopPID, u.Accounts[0].TopWatchesPID = top.PID, top.PID
	}
	return u
}

// Roomy is a node where nothing is short: uid 0 uses 60 of 128 instances.
func Roomy() inotify.Usage {
	return inotify.Usage{
		InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact,
		Limits: inotify.Limits{Instances: 128, Watches: 8192, FileMax: 100000, NrOpen: 1048576, OpenFiles: 5000},
		Accounts: []inotify.Account{
			{Owner: inotify.Owner{UserNS: inotify.InitialUserNS}, Instances: 60, InstancesLimit: 128, Watches: 400, WatchesLimit: 8192, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact},
			{Owner: inotify.Owner{UserNS: 7, UID: 100000}, Level: 1, Instances: 3, InstancesLimit: 5, Watches: 10, WatchesLimit: 1 << 31, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact},
		},
		Processes: []inotify.Process{
			{PID: 812, Comm: "kubelet", UserNS: inotify.InitialUserNS, Instances: 50, Watches: 300, FDs: 310, NOFILESoft: 1000000, NOFILEHard: 1000000, Unit: "kubelet.service"},
			{PID: 900, Comm: "inner", UserNS: 7, UID: 100000, Instances: 3, Watches: 10, FDs: 9, NOFILESoft: 1024, NOFILEHard: 4096},
			{PID: 901, Comm: "other", UserNS: inotify.InitialUserNS, UID: 1000, Instances: 70, Watches: 9, FDs: 9, NOFILESoft: 1024, NOFILEHard: 4096},
			{PID: 4711, Comm: "fluent-bit", UserNS: inotify.InitialUserNS, Instances: 2, Watches: 90, FDs: 100, NOFILESoft: 1024, NOFILEHard: 524288, Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit"},
		},
	}
}

// RefusedOfEachKind has one failed call for each limit, and one that failed for
// another reason.
var RefusedOfEachKind = []inotify.SyscallFailure{
	{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Owner: &inotify.Owner{UserNS: inotify.InitialUserNS}, Used: 128, Limit: 128, PID: 7, Comm: "fluent-bit", Count: 3, Namespace: "logging", Pod: "fb", Container: "fluent-bit", Cgroup: "/kubepods/pod0123456789abcdef0123456789abcdef/x"},
	{Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Owner: &inotify.Owner{UserNS: 5, UID: 1000}, Level: 1, Used: 3, Limit: 3, PID: 8, Comm: "a\nb", Count: 1},
	{Call: inotify.CallInit, Errno: 24, Resource: inotify.NOFILE, Used: 40, Limit: 40, PID: 9, Comm: "tail", Count: 2, Unit: "tail.service"},
	{Call: inotify.CallAddWatch, Errno: 28, Resource: inotify.Watches, Owner: &inotify.Owner{UserNS: inotify.InitialUserNS}, Used: 8192, Limit: 8192, PID: 7, Comm: "fluent-bit", Count: 9},
	{Call: inotify.CallInit, Errno: 23, Resource: inotify.OpenFiles, Limit: inotify.NoLimit, PID: 7, Comm: "x", Count: 1},
	{Call: inotify.CallAddWatch, Errno: 12, Resource: inotify.Memory, Limit: inotify.NoLimit, PID: 7, Comm: "x", Count: 1},
	{Call: inotify.CallInit, Errno: 24, Resource: inotify.InstancesOrNOFILE, Limit: inotify.NoLimit, PID: 7, Count: 1},
	{Call: inotify.CallAddWatch, Errno: 2, Limit: inotify.NoLimit, PID: 7, Comm: "x", Count: 1},
}
