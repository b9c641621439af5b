package text

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

func rules(all ...sysctl.Status) reporter.Snapshot {
	return reporter.Snapshot{Sysctl: reporter.Result[sysctl.PassResult]{At: time.Unix(1, 0), Value: sysctl.PassResult{Rules: all}}}
}

func TestVerdict(t *testing.T) {
	inForce := reportertest.Floor(sysctl.FileMax, 9, 9, sysctl.InForce, "")
	drifted := reportertest.Floor(sysctl.MaxUserWatches, 1, 9, sysctl.Drifted, "")
	refused := reportertest.Floor(sysctl.NrOpen, 1, 9, sysctl.Refused, "invalid argument")
	absent := reportertest.Floor(sysctl.EpollMaxUserWatches, sysctl.Unknown, 9, sysctl.Absent, "")
	reported := sysctl.Status{Rule: sysctl.Rule{Key: "user.max_inotify_watches", Op: sysctl.Report}, Value: 4, Outcome: sysctl.InForce}
	exactly := sysctl.Status{Rule: sysctl.Rule{Key: sysctl.FileMax, Op: sysctl.Exactly, Want: 4}, Value: 5, Outcome: sysctl.Drifted}
	with := func(change func(*reporter.Snapshot)) reporter.Snapshot {
		s := rules(inForce)
		change(&s)
		return s
	}
	pressure := func(all ...inotify.LimitPressure) reporter.Snapshot {
		for i := range all {
			all[i].Pressure = true
		}
		return with(func(s *reporter.Snapshot) { s.Inotify.Value.Findings = all })
	}
	for _, c := range []struct {
		name string
		s    reporter.Snapshot
		want string
	}{
		{"in force", rules(inForce), "The limit is in force."},
		{"absent and reported keys do not count", rules(inForce, inForce, absent, reported), "All 2 limits are in force."},
		{"nothing is there", rules(absent, reported), "None of the limits exists below /proc/sys as nodetune sees it."},
		{"three of five", rules(drifted, drifted, drifted, inForce, inForce), "3 of 5 limits are below their floor. Next: sudo nodetune apply"},
		{"one", rules(drifted, inForce), "1 of 2 limits is below its floor. Next: sudo nodetune apply"},
		{"exactly", rules(exactly, inForce), "1 of 2 limits is not as wanted. Next: sudo nodetune apply"},
		{"what another apply does not mend", rules(drifted, refused), "2 of 2 limits are not as wanted. Next: nodetune explain fs.nr_open"},
		{
			"paused", func() reporter.Snapshot { s := rules(drifted); s.Sysctl.Value.Paused = "/run/nodetune/pause"; return s }(),
			"1 of 1 limit is below its floor. Next: sudo rm /run/nodetune/pause, then sudo nodetune apply",
		},
		{"a limit of the node", pressure(inotify.LimitPressure{Resource: inotify.Instances, Owner: &inotify.Owner{}}), "1 limit of the node is nearly used up. Next: sudo nodetune top"},
		{
			"a limit of a user namespace", pressure(inotify.LimitPressure{Resource: inotify.Instances, Level: 1, Owner: &inotify.Owner{}, Top: &inotify.Process{PID: 7}}),
			"1 limit of a process or its user namespace is nearly used up. Next: sudo nodetune why 7",
		},
		{
			"a limit of a process and one of the node", pressure(inotify.LimitPressure{Resource: inotify.NOFILE, Top: &inotify.Process{PID: 7}}, inotify.LimitPressure{Resource: inotify.OpenFiles}),
			"1 limit of the node is nearly used up. Next: sudo nodetune top",
		},
		{"not all was seen", with(func(s *reporter.Snapshot) { s.Inotify.Value.Unseen = "4 of 9 processes" }), "Not everything could be seen. Next: sudo nodetune check"},
		{"a disk", with(func(s *reporter.Snapshot) { s.Disk.Value.Pressure.Severity = disk.Bad }), "A filesystem with logs is short of space. Next: sudo nodetune disk reclaim --until 80% --dry-run"},
		{"a collector", with(func(s *reporter.Snapshot) { s.Disk.Value.Reading.Severity = disk.Bad }), "A log collector is stalled. Next: sudo nodetune disk"},
		{"a pass that failed", with(func(s *reporter.Snapshot) { s.Disk.Err = errors.New("no") }), "Could not be read: disk. Next: nodetune check --verbose"},
		{"several", func() reporter.Snapshot {
			s := rules(drifted, inForce)
			s.Disk.Value.Reading.Severity = disk.Bad
			return s
		}(), "A log collector is stalled. 1 of 2 limits is below its floor. Next: sudo nodetune disk"},
	} {
		if got := verdict(c.s, ""); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

// checked is a node with a finding of each kind.
func checked() reporter.Snapshot {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	u := reportertest.Roomy()
	u.Accounts[1].Instances, u.Accounts[1].TopPID = 5, 900 // a limit of its own namespace
	u.Findings = inotify.Pressure(u, inotify.DefaultPolicy())
	u.Refusals = reportertest.RefusedOfEachKind
	u.SourceReason = "it needs CAP_BPF and CAP_PERFMON"
	u.Unseen = "4 of 9 processes could not be read"
	u.Unknown = []inotify.Gap{{What: "descriptors of processes", Why: "refused", Processes: 4}, {What: "instances in flight", Why: "not visible"}}
	s := reporter.Snapshot{
		Sysctl:  reporter.Result[sysctl.PassResult]{At: at, Value: sysctl.PassResult{Rules: slices.Clone(reportertest.Drifted), Warnings: []string{"w"}}},
		Inotify: reporter.Result[inotify.Usage]{At: at, Value: u},
		Disk:    reporter.Result[disk.Usage]{At: at, Value: reportertest.FullDisk(at)},
	}
	s.Sysctl.Value.Rules[0].Reason = "a collector started now fails"
	s.Sysctl.Value.Rules = append(s.Sysctl.Value.Rules, reportertest.Floor(sysctl.EpollMaxUserWatches, sysctl.Unknown, 9, sysctl.Absent, "this kernel has no such key"))
	s.Disk.Value.Findings = append(s.Disk.Value.Findings, disk.Finding{Severity: disk.SeverityInfo, Message: "info", Do: "nothing"})
	return s
}

func TestCheckReport(t *testing.T) {
	for file, verbose := range map[string]bool{"check.txt": false, "check-verbose.txt": true} {
		var b strings.Builder
		if err := CheckReport(&b, checked(), CheckOptions{Verbose: verbose}); err != nil {
			t.Fatal(err)
		}
		goldentest.Compare(t, file, b.String())
		if strings.Contains(b.String(), "\x1b") {
			t.Error("a name commands the terminal")
		}
	}
}

// In a pod there is no sudo, and the node has no nodetune.
func TestVerdictInAPod(t *testing.T) {
	const pod = "kubectl --namespace nodetune exec nodetune-x -- /nodetune"
	for next, want := range map[string]string{
		"sudo nodetune disk":                             pod + " disk",
		"nodetune explain fs.nr_open":                    pod + " explain fs.nr_open",
		"sudo rm /run/x/pause, then sudo nodetune apply": "sudo rm /run/x/pause, then " + pod + " apply",
	} {
		if got := runBy(pod, next); got != want {
			t.Errorf("%q: %q, want %q", next, got, want)
		}
		if got := runBy("", next); got != next {
			t.Errorf("%q: %q on a host", next, got)
		}
	}
	s := reporter.Snapshot{Agent: []reporter.AgentTrouble{{Kind: "collector_stalled", Critical: true}}}
	if got, want := verdict(s, pod), "A log collector is stalled. Next: "+pod+" disk"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
