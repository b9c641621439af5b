package page

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

var noon = reportertest.Noon

func ptr[T any](v T) *T { return &v }

// healthy is a node of twelve pods where nothing is wrong.
func healthy() Input {
	u := inotify.Usage{
		Source: inotify.SourceKernel, HoldersSource: inotify.SourceWalk,
		Instances: 110, InstancesQuality: inotify.Exact, Watches: 4100, WatchesQuality: inotify.Exact,
		Limits:           inotify.Limits{Instances: 8192, Watches: 524288, QueuedEvents: 65536, FileMax: 9223372036854775807, NrOpen: 1048576, OpenFiles: 9120, MemoryBytes: 16 << 30},
		OpenFilesPerHour: ptr(12.0),
		Accounts: []inotify.Account{
			{
				Owner: inotify.Owner{UserNS: inotify.InitialUserNS}, Instances: 98, InstancesLimit: 8192, InstancesQuality: inotify.Exact,
				Watches: 4010, WatchesLimit: 524288, WatchesQuality: inotify.Exact, Quality: inotify.Exact, TopPID: 812, TopWatchesPID: 4711, Growth: &inotify.Growth{Instances: 0.2, Watches: 40},
			},
			{
				Owner: inotify.Owner{UserNS: inotify.InitialUserNS, UID: 1000}, Instances: 12, InstancesLimit: 8192, InstancesQuality: inotify.Exact,
				Watches: 90, WatchesLimit: 524288, WatchesQuality: inotify.Exact, Quality: inotify.Exact, TopPID: 5200,
			},
		},
		Processes: []inotify.Process{
			{PID: 812, Comm: "kubelet", UserNS: inotify.InitialUserNS, Instances: 50, Watches: 640, FDs: 256, NOFILESoft: 1000000, NOFILEHard: 1000000, Unit: "kubelet.service"},
			{PID: 4711, Comm: "fluent-bit", UserNS: inotify.InitialUserNS, Instances: 2, Watches: 3200, FDs: 158, NOFILESoft: 1048576, NOFILEHard: 1048576, Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit"},
			{PID: 5200, Comm: "node", UserNS: inotify.InitialUserNS, UID: 1000, Instances: 12, Watches: 90, FDs: 700, NOFILESoft: 1024, NOFILEHard: 4096, Namespace: "shop", Pod: "cart-6d4f9c", Container: "web", Growth: &inotify.Growth{FDs: 30}},
			{PID: 1, Comm: "systemd", UserNS: inotify.InitialUserNS, Instances: 4, Watches: 120, FDs: 90, NOFILESoft: 1048576, NOFILEHard: 1048576, Unit: "init.scope"},
		},
	}
	for i := range 12 {
		u.Processes = append(u.Processes, inotify.Process{PID: 6000 + i, Comm: "containerd-shim", UserNS: inotify.InitialUserNS, Instances: 2, Watches: 2, FDs: 16, NOFILESoft: 1048576, NOFILEHard: 1048576, Unit: "containerd.service"})
	}
	u.Findings = inotify.Pressure(u, inotify.DefaultPolicy())
	d := disk.Usage{
		Filesystems: []filesystem.Filesystem{{
			Path: "/", Source: "/dev/vda1", Type: "ext4", Device: "254:1", Roles: []filesystem.Role{filesystem.RoleLogs, filesystem.RoleKubelet, filesystem.RoleRuntime}, State: filesystem.StateOK,
			SizeBytes: 200 << 30, AvailBytes: 121 << 30, Inodes: 13_000_000, InodesFree: 12_000_000, GrowthBytesPerSecond: ptr(float64(110 << 10)), SecondsToFull: ptr(1.2e6),
			EvictionSignal: "nodefs.available", EvictionAvailBytes: ptr(uint64(20 << 30)), SecondsToEviction: ptr(1e6),
		}},
		Orphans: nil, Collected: true,
		Pressure: disk.Assessment{Reason: disk.ReasonSpace, Message: "every filesystem with logs has space"},
		Reading:  disk.Assessment{Reason: disk.ReasonReading, Message: "every reader moves"},
		Scan:     disk.Scan{Files: 96, Processes: 240},
	}
	for i := range 12 {
		w := workload.Workload{Namespace: "shop", Pod: fmt.Sprintf("cart-6d4f9c-%02d", i), Container: "web", PodUID: fmt.Sprintf("11111111-2222-3333-4444-%012d", i)}
		d.Producers = append(d.Producers, logs.Producer{Kind: logs.KindContainer, Workload: w, Path: "/var/log/pods/" + w.Pod, Bytes: uint64(60-i) << 20, Files: 5, Archives: 4, BytesPerSecond: ptr(float64(4000 - 300*i))})
		d.Readers = append(d.Readers, logs.Reader{PID: 4711, Start: 9, Comm: "fluent-bit", Who: workload.Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit"}, Log: w, Path: "/var/log/pods/" + w.Pod + "/0.log", Watched: true, Open: true, OffsetBytes: ptr(uint64(1 << 20)), SizeBytes: 1<<20 + 512, LagBytes: 512})
	}
	rule := func(k sysctl.Key, value, want, ceiling sysctl.Value) sysctl.Status {
		return sysctl.Status{Rule: sysctl.Rule{Key: k, Op: sysctl.AtLeast, Want: want, Ceiling: ceiling}, Value: value, Before: value, Outcome: sysctl.InForce}
	}
	r := sysctl.PassResult{Guard: "observe", Rules: []sysctl.Status{
		rule(sysctl.MaxUserInstances, 8192, 8192, 65536), rule(sysctl.MaxUserWatches, 524288, 524288, 1048576), rule(sysctl.FileMax, 9223372036854775807, 1048576, sysctl.Unknown),
		{Rule: sysctl.Rule{Key: sysctl.NrOpen, Op: sysctl.Report, Want: sysctl.Unknown, Ceiling: sysctl.Unknown}, Value: 1048576, Before: 1048576, Outcome: sysctl.InForce},
	}}
	return Input{
		Snapshot: reporter.Snapshot{
			Sysctl:  reporter.Result[sysctl.PassResult]{Value: r, At: noon.Add(-11 * time.Second)},
			Inotify: reporter.Result[inotify.Usage]{Value: u, At: noon.Add(-24 * time.Second)},
			Disk:    reporter.Result[disk.Usage]{Value: d, At: noon.Add(-4 * time.Second)},
		},
		Acts: []reporter.Act{
			{At: noon.Add(-2 * time.Hour), First: noon.Add(-2 * time.Hour), Count: 1, Kind: reporter.ActRaise, On: string(sysctl.MaxUserInstances), What: "fs.inotify.max_user_instances: 128 → 8192", Why: "root's shims (2 for each pod), kubelet (about 50), systemd and collectors share one count"},
		},
		Policy: inotify.DefaultPolicy(), StaleAfter: 5 * time.Minute, Now: noon, Node: "worker-3", Version: "v0.4.0", DiskMode: disk.Assist,
	}
}

// condition is one that has been True since some minutes.
func (in *Input) condition(kind corev1.NodeConditionType, status corev1.ConditionStatus) {
	in.Conditions = append(in.Conditions, corev1.NodeCondition{Type: kind, Status: status, LastTransitionTime: metav1.NewTime(noon.Add(-7 * time.Minute))})
}

// exhausted is a node whose root has no inotify instance left, that cannot be
// raised, and where a collector fails.
func exhausted() Input {
	in := healthy()
	u := &in.Snapshot.Inotify.Value
	u.Accounts[0].Instances, u.Accounts[0].TopPID = 8192, 7001
	u.Accounts[0].Growth = &inotify.Growth{Instances: 5200, Watches: 900}
	u.Processes = append([]inotify.Process{{PID: 7001, Comm: "webpack", UserNS: inotify.InitialUserNS, Instances: 8060, Watches: 8060, FDs: 8100, NOFILESoft: 1048576, NOFILEHard: 1048576, Namespace: "ci", Pod: "build-agent-77", Container: "runner"}}, u.Processes...)
	u.Findings = inotify.Pressure(*u, in.Policy)
	u.Refusals = []inotify.SyscallFailure{{
		Call: inotify.CallInit, Errno: 24, Resource: inotify.Instances, Owner: &inotify.Owner{UserNS: inotify.InitialUserNS}, Used: 8192, Limit: 8192,
		PID: 4711, Comm: "fluent-bit", Count: 14, At: noon.Add(-20 * time.Second), Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit",
	}}
	in.Acts = append([]reporter.Act{{
		At: noon.Add(-6 * time.Minute), First: noon.Add(-6 * time.Minute), Count: 1, Kind: reporter.ActRaise, On: string(sysctl.MaxUserInstances), Failed: true,
		What: "fs.inotify.max_user_instances stays at 8192, although uid 0 uses 8192 of 8192", Why: "process 7001 holds 8060 instances, which is taken for a leak (leakInstances 4096): more would be leaked too",
	}}, in.Acts...)
	in.condition("InotifyPressure", corev1.ConditionTrue)
	return in
}

// logStorm is a node whose disk fills.
func logStorm() Input {
	in := healthy()
	d := &in.Snapshot.Disk.Value
	f := &d.Filesystems[0]
	f.AvailBytes, f.GrowthBytesPerSecond, f.SecondsToEviction, f.SecondsToFull = 23<<30, ptr(float64(32<<20)), ptr(96.0), ptr(736.0)
	d.Producers[3].BytesPerSecond, d.Producers[3].Bytes, d.Producers[3].Pod = ptr(float64(31<<20)), 44<<30, "checkout-5f8b-qq2"
	d.Pressure = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonEvictionSoon, Message: "/ has 11.5% available and the kubelet evicts within 10m; logs hold 44 GiB, most of it shop/checkout-5f8b-qq2:web with 44 GiB"}
	in.Acts = append([]reporter.Act{{At: noon.Add(-30 * time.Second), First: noon.Add(-4 * time.Minute), Count: 9, Kind: reporter.ActReclaim, On: "/var/log", What: "/var/log: freed 3.1 GiB in 4 acts, 23 GiB available now, which is not enough", Why: "less than 15 % available"}}, in.Acts...)
	in.condition("LogDiskPressure", corev1.ConditionTrue)
	return in
}

// stalled is a node whose collector does not read any more.
func stalled() Input {
	in := healthy()
	d := &in.Snapshot.Disk.Value
	for i := range d.Readers[:3] {
		d.Readers[i].StalledSince, d.Readers[i].LagBytes, d.Readers[i].PredictedLossBytes = ptr(noon.Add(-9*time.Minute)), 9<<20, 9<<20
	}
	d.Unfollowed = []logs.Unfollowed{{Workload: workload.Workload{Namespace: "shop", Pod: "new-1", Container: "web"}, Path: "/var/log/pods/new/0.log", SizeBytes: 5000, GrewBytes: 4000, Since: ptr(noon.Add(-3 * time.Minute))}}
	d.Reading = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonStalled, Message: "logging/fluent-bit-x7k2p has stopped reading with 9.0 MiB unread of shop/cart-6d4f9c-00:web and 2 more logs; restart it"}
	in.condition("LogCollectorStalled", corev1.ConditionTrue)
	return in
}
