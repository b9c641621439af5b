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
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

// alarms is what the disk room judged.
func alarms(level disk.Severity, pressure, reading string) reporter.Snapshot {
	return reporter.Snapshot{Disk: reporter.Result[disk.Usage]{Value: disk.Usage{
		Pressure: disk.Assessment{Severity: level, Reason: pressure, Message: "/var/log has 9.0% available; most of it \"\x1b[31m\""},
		Reading:  disk.Assessment{Severity: level, Reason: reading, Message: "logging/fluent-bit-x7k2p stands still"},
	}}}
}

// unread is a node where all logs are read, but pid does not read its events.
func unread(pid int, seconds int64) reporter.Snapshot {
	s := alarms(disk.Clear, disk.ReasonSpace, disk.ReasonReading)
	s.Disk.Value.Readers = []logs.Reader{{PID: 7, Start: 5}, {PID: 8, Start: 4}}
	s.Inotify.Value = reportertest.Accounts(1, 1, &inotify.Process{
		PID: pid, Start: 5, Comm: "fluent-bit", Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit",
		QueuedEvents: 321, QueuedEventsLimit: 16384, EventsUnreadSeconds: seconds,
	})
	return s
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
	{name: "disk: all is well", s: alarms(disk.Clear, disk.ReasonSpace, disk.ReasonReading)},
	{name: "disk: between", s: alarms(disk.Between, disk.ReasonSpace, disk.ReasonReading)},
	{name: "disk: short of space, a collector stalls", s: alarms(disk.Bad, disk.ReasonSpaceLow, disk.ReasonStalled)},
	{name: "disk: short of inodes, a log unfollowed", s: alarms(disk.Bad, disk.ReasonInodesLow, disk.ReasonUnfollowed)},
	{name: "disk: eviction soon", s: alarms(disk.Bad, disk.ReasonEvictionSoon, disk.ReasonStalled)},
	{name: "disk: full soon", s: alarms(disk.Bad, disk.ReasonFullSoon, disk.ReasonStalled)},
	{name: "disk: hung", s: alarms(disk.Bad, disk.ReasonUnusable, disk.ReasonStalled)},
	{name: "a collector does not read its events", s: unread(7, 120)},
	{name: "it did a minute ago", s: unread(7, 60)},
	{name: "who does not read events reads no log", s: unread(8, 120)},
	{name: "a pass that fails", s: reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{Err: errors.New("read /proc: permission denied")}}},
}

func TestConditionsGolden(t *testing.T) {
	var got strings.Builder
	seen := map[string]bool{}
	levels := map[Severity]string{Unevaluated: "unevaluated", Stale: "stale", Clear: "clear", Between: "between", Bad: "bad"}
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
	status := map[Severity]corev1.ConditionStatus{Stale: "Unknown", Clear: "False", Between: "False", Bad: "True"}[v.Severity]
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
