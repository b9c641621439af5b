package reportertest

import (
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/workload"
)

// FullDisk is a host with one of each thing that a pass over disks reports.
func FullDisk(now time.Time) disk.Usage {
	number := func(v float64) *float64 { return &v }
	evict, stalled := uint64(20<<30), now.Add(-5*time.Minute)
	offset := uint64(1 << 20)
	web := workload.Workload{Namespace: "prod", Pod: "web-7d4b9", Container: "app", PodUID: "11111111-2222-3333-4444-555555555555"}
	agent := workload.Workload{Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit"}
	return disk.Usage{
		Filesystems: []filesystem.Filesystem{
			{
				Path: "/", Source: "/dev/vda", Type: "ext4", Device: "254:0", Roles: []filesystem.Role{filesystem.RoleKubelet, filesystem.RoleLogs}, State: filesystem.StateOK,
				SizeBytes: 200 << 30, AvailBytes: 30 << 30, Inodes: 1000, InodesFree: 400, EvictionAvailBytes: &evict, EvictionSignal: "nodefs.available",
				GrowthBytesPerSecond: number(32 << 20), SecondsToFull: number(960), SecondsToEviction: number(320),
			},
			{Path: "/var/log/nfs", Type: "nfs4", State: filesystem.StateHung, Error: "statfs has not answered for 2m0s", Roles: []filesystem.Role{filesystem.RoleLogs}},
		},
		Producers: []logs.Producer{
			{Kind: logs.KindContainer, Workload: web, Path: "/var/log/pods/x/app", Bytes: 430 << 20, Files: 5, Archives: 4, BytesPerSecond: number(32 << 20), WrittenBytes: 9 << 30},
			{Kind: logs.KindUnit, Workload: workload.Workload{Unit: "kubelet.service"}, Bytes: 64 << 20, Estimated: true},
			{Kind: logs.KindFile, Path: "/var/log/evil\x1b[2J\n.log", Bytes: 4096, Files: 1},
		},
		Readers: []logs.Reader{
			{PID: 4242, Comm: "fluent-bit", Who: agent, Log: web, Path: "/var/log/pods/x/app/0.log", Watched: true, Open: true, OffsetBytes: &offset, SizeBytes: 10 << 20, LagBytes: 9 << 20, StalledSince: &stalled, PredictedLossBytes: 9 << 20},
			{PID: 4243, Comm: "tail", Path: "/var/log/syslog", Open: true, OffsetBytes: &offset, SizeBytes: 1 << 20},
			{PID: 4244, Comm: "watcher", Path: "/var/log/syslog", Watched: true, SizeBytes: 1 << 20},
		},
		Unfollowed: []logs.Unfollowed{{Workload: web, Path: "/var/log/pods/x/app/1.log", SizeBytes: 500, GrewBytes: 11, Since: &stalled}},
		Deleted:    []logs.Deleted{{Path: "/var/log/gone", Bytes: 120 << 20, Holders: []logdir.Opener{{PID: 7, Comm: "vector"}}}},
		Orphans:    []reclaim.Orphan{{Workload: web, Path: "/var/log/pods/x", Bytes: 1 << 20, Modified: stalled}},
		Corrupt:    []logs.Corrupt{{Path: "/var/log/a.gz", Bytes: 10, Error: "unexpected end of file"}},
		Findings:   []disk.Finding{{Reason: disk.FindingCopyTruncate, Severity: disk.SeverityWarning, Message: "m", Do: "d"}},
		Scan:       disk.Scan{Errors: []string{"open /srv/log: permission denied"}, Skipped: map[string]int{"denied": 3}, Processes: 512, Unreadable: 400},
		Pressure:   disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonEvictionSoon, Message: "/ has 15.0% available"},
		Reading:    disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonStalled, Message: "logging/fluent-bit-x7k2p stopped reading"},
	}
}
