package condition

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

// assessed is a node with these assessments of the disk package.
func assessed(level disk.Severity, pressure, reading string) reporter.Snapshot {
	return reporter.Snapshot{Disk: reporter.Result[disk.Usage]{Value: disk.Usage{
		Filesystems: []filesystem.Filesystem{{Path: "/", State: filesystem.StateOK, SizeBytes: 100, AvailBytes: 50}},
		Pressure:    disk.Assessment{Severity: level, Reason: pressure, Message: "/var/log has 9.0% available; most of it \"\x1b[31m\""},
		Reading:     disk.Assessment{Severity: level, Reason: reading, Message: "logging/fluent-bit-x7k2p stopped reading"},
	}}}
}

// unread is a node where all logs are read, but pid does not read its events.
func unread(pid int, seconds int64) reporter.Snapshot {
	s := assessed(disk.Clear, disk.ReasonSpace, disk.ReasonReading)
	s.Disk.Value.Readers = []logs.Reader{{PID: 7, Start: 5}, {PID: 8, Start: 4}}
	s.Inotify.Value = reportertest.Accounts(1, 1, &inotify.Process{
		PID: pid, Start: 5, Comm: "fluent-bit", Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit",
		QueuedEvents: 321, QueuedEventsLimit: 16384, EventsUnreadSeconds: seconds,
	})
	return s
}

// refused is a walk that could not read most processes.
var refused = procwalk.Stats{Processes: 512, Unreadable: []procwalk.Unreadable{{Reason: "refused", Processes: 400}}}

// blind is a node where most processes cannot be read.
func blind(reading disk.Severity) reporter.Snapshot {
	reason := map[disk.Severity]string{disk.Clear: disk.ReasonReading, disk.Bad: disk.ReasonStalled}[reading]
	s := assessed(reading, disk.ReasonSpace, reason)
	s.Disk.Value.Pressure.Severity = disk.Clear
	s.Disk.Value.Scan.Processes, s.Disk.Value.Scan.Unreadable = 512, 400
	return s
}

// withUsage is a node where uid 0 uses so much, with a change.
func withUsage(instances, watches int64, change func(*inotify.Usage)) reporter.Snapshot {
	u := reportertest.Accounts(instances, watches, nil)
	change(&u)
	return reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: u}}
}

// conditionCases are snapshots a minute before noon, and what they come to is
// in testdata/conditions.golden.
var conditionCases = []struct {
	name string
	at   time.Duration // how long ago the passes ended; 0: a minute
	s    reporter.Snapshot
}{
	{name: "nothing has run"},
	{name: "all is well", s: reporter.Snapshot{
		Sysctl:  reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{Rules: []sysctl.Status{reportertest.Floor(sysctl.MaxUserInstances, 8192, 8192, sysctl.InForce, ""), reportertest.Floor(sysctl.EpollMaxUserWatches, sysctl.Unknown, 1, sysctl.Absent, "")}}},
		Inotify: reporter.Result[inotify.Usage]{Value: reportertest.Accounts(50, 100, nil)},
	}},
	{name: "exactly 70 percent is clear", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: func() inotify.Usage {
		u := reportertest.Accounts(0, 0, nil)
		u.Limits.OpenFiles = 700
		return u
	}()}}},
	{name: "between 70 and 80 percent", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: reportertest.Accounts(98, 0, nil)}}},
	{name: "instances, held by a pod", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: reportertest.Accounts(110, 0, &inotify.Process{
		PID: 7, Comm: "promtail", Instances: 90, Namespace: "logging", Pod: "promtail-x8z2k", Container: "promtail",
	})}}},
	{name: "watches, held by a unit", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: reportertest.Accounts(10, 8000, &inotify.Process{
		PID: 7, Comm: "kubelet", Watches: 8000, Unit: "kubelet.service",
	})}}},
	{name: "a hostile name", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: reportertest.Accounts(128, 0, &inotify.Process{
		PID: 7, Comm: "\x1b[31m\nReady", Namespace: strings.Repeat("n", 300), Pod: "p", Container: "c",
	})}}},
	{name: "open files", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: func() inotify.Usage {
		u := reportertest.Accounts(0, 0, nil)
		u.Limits.OpenFiles = 950
		u.Processes = []inotify.Process{{PID: 9, Comm: "leaky", FDs: 900, NOFILESoft: 1 << 20}}
		return u
	}()}}},
	{name: "a process near its own limit is no condition", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Value: func() inotify.Usage {
		u := reportertest.Accounts(0, 0, nil)
		u.Processes = []inotify.Process{{PID: 9, Comm: "leaky", FDs: 1020, NOFILESoft: 1024}}
		return u
	}()}}},
	{name: "contested outranks drifted", s: reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{Rules: []sysctl.Status{
		reportertest.Floor(sysctl.MaxUserWatches, 65536, 524288, sysctl.Drifted, ""),
		reportertest.Floor(sysctl.MaxUserInstances, 128, 8192, sysctl.Contested, "/etc/sysctl.d/99-promtail.conf:1 says 128"),
	}}}}},
	{name: "two keys that may not be written", s: reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{Rules: []sysctl.Status{
		reportertest.Floor(sysctl.MaxUserWatches, 65536, 524288, sysctl.Drifted, "this is a check"),
		reportertest.Floor(sysctl.MaxUserInstances, 128, 8192, sysctl.Drifted, ""),
	}}}}},
	{name: "paused", s: reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{
		Paused: "/run/nodetune/pause",
		Rules:  []sysctl.Status{reportertest.Floor(sysctl.MaxUserInstances, 128, 8192, sysctl.Drifted, "")},
	}}}},
	{name: "refused", s: reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{Rules: []sysctl.Status{
		reportertest.Floor(sysctl.NrOpen, 1048576, 1<<40, sysctl.Refused, "the kernel says: invalid argument"),
	}}}}},
	{name: "cannot write", s: reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{Rules: []sysctl.Status{
		reportertest.Floor(sysctl.NrOpen, sysctl.Unknown, 1048576, sysctl.Failed, "permission denied"),
	}}}}},
	{name: "stale", at: 6 * time.Minute, s: reporter.Snapshot{
		Sysctl:  reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{}},
		Inotify: reporter.Result[inotify.Usage]{Value: reportertest.Accounts(50, 100, nil)},
	}},
	{name: "disk: all is well", s: assessed(disk.Clear, disk.ReasonSpace, disk.ReasonReading)},
	{name: "disk: between", s: assessed(disk.Between, disk.ReasonSpace, disk.ReasonReading)},
	{name: "disk: short of space, a collector stalls", s: assessed(disk.Bad, disk.ReasonSpaceLow, disk.ReasonStalled)},
	{name: "disk: short of inodes, a log unfollowed", s: assessed(disk.Bad, disk.ReasonInodesLow, disk.ReasonUnfollowed)},
	{name: "disk: eviction soon", s: assessed(disk.Bad, disk.ReasonEvictionSoon, disk.ReasonStalled)},
	{name: "disk: full soon", s: assessed(disk.Bad, disk.ReasonFullSoon, disk.ReasonStalled)},
	{name: "disk: hung", s: assessed(disk.Bad, disk.ReasonUnusable, disk.ReasonStalled)},
	{name: "disk: nothing could be measured", s: func() reporter.Snapshot {
		s := assessed(disk.Clear, disk.ReasonSpace, disk.ReasonReading)
		s.Disk.Value.Filesystems = []filesystem.Filesystem{{Path: "/", State: filesystem.StateOK}, {Path: "/var/log", State: filesystem.StateHung, SizeBytes: 1}}
		return s
	}()},
	{name: "disk: a first walk for readers is unfinished", s: func() reporter.Snapshot {
		s := assessed(disk.Clear, disk.ReasonSpace, disk.ReasonReading)
		s.Disk.Value.Scan.Later, s.Disk.Value.Scan.ReadersOld = 300, true
		return s
	}()},
	{name: "disk: processes that cannot be read", s: blind(disk.Clear)},
	{name: "disk: processes that cannot be read, and one that stalls", s: blind(disk.Bad)},
	{name: "processes that cannot be read", s: withUsage(50, 100, func(u *inotify.Usage) { u.Walk = refused })},
	{name: "processes that cannot be read, between", s: withUsage(98, 100, func(u *inotify.Usage) { u.Walk = refused })},
	{name: "processes that cannot be read, and pressure", s: withUsage(128, 100, func(u *inotify.Usage) { u.Walk = refused })},
	{name: "processes that cannot be read, counted by the kernel", s: withUsage(50, 100, func(u *inotify.Usage) { u.Walk, u.Source = refused, inotify.SourceKernel })},
	{name: "a pid namespace of its own", s: withUsage(50, 100, func(u *inotify.Usage) { u.OwnPIDNamespace = true })},
	{name: "a limit that cannot be read", s: withUsage(50, 100, func(u *inotify.Usage) { u.Accounts[0].InstancesLimit = inotify.NoLimit })},
	{name: "fs.file-max cannot be read", s: withUsage(50, 100, func(u *inotify.Usage) { u.Limits.FileMax = inotify.NoLimit })},
	{name: "fs.file-nr cannot be read", s: withUsage(50, 100, func(u *inotify.Usage) { u.Limits.OpenFiles = 0 })},
	{name: "/proc/sys is hidden", s: reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{Value: sysctl.PassResult{Rules: []sysctl.Status{
		reportertest.Floor(sysctl.MaxUserInstances, sysctl.Unknown, 8192, sysctl.Absent, ""), reportertest.Floor(sysctl.MaxUserWatches, sysctl.Unknown, 1, sysctl.Absent, ""),
	}}}}},
	{name: "a collector does not read its events", s: unread(7, 120)},
	{name: "it did a minute ago", s: unread(7, 60)},
	{name: "who does not read events reads no log", s: unread(8, 120)},
	{name: "a pass that fails", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Err: errors.New("read /proc: permission denied")}}},
}

func TestConditionsGolden(t *testing.T) {
	var got strings.Builder
	seen := map[string]bool{}
	levels := map[Severity]string{Unevaluated: "unevaluated", Unknown: "unknown", Clear: "clear", Between: "between", Bad: "bad"}
	for _, c := range conditionCases {
		fmt.Fprintf(&got, "# %s\n", c.name)
		at := reportertest.Noon.Add(-cmp.Or(c.at, time.Minute))
		if c.s.Sysctl.Value.Rules != nil || c.at > 0 {
			c.s.Sysctl.At = at
		}
		if c.s.Disk.Value.Pressure.Reason != "" {
			c.s.Disk.At = at
		}
		if c.s.Inotify.Value.Accounts != nil || c.s.Inotify.Err != nil {
			c.s.Inotify.At = at
		}
		for _, v := range Evaluate(c.s, reportertest.Noon, 5*time.Minute, inotify.DefaultPolicy()) {
			seen[v.Reason] = true
			fmt.Fprintf(&got, "%s %s %s: %s\n", v.Type, levels[v.Severity], v.Reason, truncate(v.Message))
			if v.Severity != Unevaluated && !knownReason(v) {
				t.Errorf("%s: reason %s of a %s %s is not in the table", c.name, v.Reason, levels[v.Severity], v.Type)
			}
		}
	}
	for _, r := range Reasons {
		if !seen[r.Reason] {
			t.Errorf("no snapshot shows the reason %s", r.Reason)
		}
	}
	goldentest.Compare(t, "conditions.golden", got.String())
}

func knownReason(v Evaluation) bool {
	status := map[Severity]corev1.ConditionStatus{Unknown: "Unknown", Clear: "False", Between: "False", Bad: "True"}[v.Severity]
	return slices.ContainsFunc(Reasons, func(r Reason) bool {
		return r.Reason == v.Reason && r.Status == status && (r.Type == "" || r.Type == v.Type)
	})
}

// The page lists each reason with the text of its Event.
func TestPageListsEveryReason(t *testing.T) {
	table := "| condition | status | reason | meaning |\n|---|---|---|---|\n"
	for _, r := range Reasons {
		kind := "any"
		if r.Type != "" {
			kind = "`" + string(r.Type) + "`"
		}
		table += fmt.Sprintf("| %s | %s | `%s` | %s |\n", kind, r.Status, r.Reason, r.EventMessage)
	}
	goldentest.CompareSection(t, filepath.Join(goldentest.Root(t), "docs/conditions-and-events.md"),
		"<!-- UPDATE_GOLDEN=1 go test ./reporter/condition writes this table -->\n", "<!-- end of the table -->\n", table)
}
