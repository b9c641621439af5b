package page

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// with is a healthy node that was changed.
func with(change func(in *Input)) Input {
	in := healthy()
	change(&in)
	in.Snapshot.Inotify.Value.Findings = inotify.Pressure(in.Snapshot.Inotify.Value, in.Policy)
	return in
}

func first(in *Input) *sysctl.Status { return &in.Snapshot.Sysctl.Value.Rules[0] }

// What is wrong is in one sentence, with who causes it, what nodetune did, and the
// line to paste.
func TestTroubles(t *testing.T) {
	long := 10 * time.Minute
	for _, tt := range []struct {
		name string
		in   Input
		want string // of each trouble: STATE KIND | summary | cause | did | next
	}{
		{"healthy", healthy(), ""},
		{"starting", Input{Now: noon, Policy: inotify.DefaultPolicy()}, ""},
		{"no instance is left", exhausted(), `
critical failing_calls | fluent-bit[4711] of logging/fluent-bit-x7k2p:fluent-bit cannot watch its files: EMFILE, fs.inotify.max_user_instances of uid 0 (8192 of 8192); inotify_init1 failed 14 times | webpack[7001] of ci/build-agent-77:runner holds 8060 of the inotify instances | fs.inotify.max_user_instances stays at 8192, although uid 0 uses 8192 of 8192 | sudo nodetune why 7001`},
		{"a call failed, and the limit was raised since", with(func(in *Input) {
			in.Snapshot.Inotify.Value.Refusals = exhausted().Snapshot.Inotify.Value.Refusals
			in.Snapshot.Inotify.Value.Refusals[0].Limit, in.Snapshot.Inotify.Value.Refusals[0].Used = 128, 128
		}), `
warning failing_calls | fluent-bit[4711] of logging/fluent-bit-x7k2p:fluent-bit cannot watch its files: EMFILE, fs.inotify.max_user_instances of uid 0 (128 of 128); inotify_init1 failed 14 times; the limit is 8192 now, of which 98 are in use | kubelet[812] of kubelet.service holds 50 of the inotify instances | raise fs.inotify.max_user_instances: 128 → 8192 | kubectl --namespace logging delete pod fluent-bit-x7k2p`},
		{"no instance is left, and calls are not traced", func() Input { in := exhausted(); in.Snapshot.Inotify.Value.Refusals = nil; return in }(), `
critical limit_pressure | uid 0 uses 8192 of its 8192 inotify instances (100 %): at the limit the next collector fails to start, errno 24 (EMFILE) | webpack[7001] of ci/build-agent-77:runner holds 8060 | fs.inotify.max_user_instances stays at 8192, although uid 0 uses 8192 of 8192 | sudo nodetune why 7001`},
		{"watches are nearly used up", with(func(in *Input) { in.Snapshot.Inotify.Value.Accounts[0].Watches = 430000 }), `
warning limit_pressure | uid 0 uses 430000 of its 524288 inotify watches (82 %): at the limit collectors miss new log files, errno 28 (ENOSPC) | fluent-bit[4711] of logging/fluent-bit-x7k2p:fluent-bit holds 3200 | nothing yet: it raises the limit with the next pass | sudo nodetune why 4711`},
		{"the agent is in a pod", with(func(in *Input) {
			in.Snapshot.Inotify.Value.Accounts[0].Watches = 430000
			in.Command = "kubectl --namespace nodetune exec nodetune-x -- /nodetune"
		}), `
warning limit_pressure | uid 0 uses 430000 of its 524288 inotify watches (82 %): at the limit collectors miss new log files, errno 28 (ENOSPC) | fluent-bit[4711] of logging/fluent-bit-x7k2p:fluent-bit holds 3200 | nothing yet: it raises the limit with the next pass | kubectl --namespace nodetune exec nodetune-x -- /nodetune why 4711`},
		{"open files", with(func(in *Input) { in.Snapshot.Inotify.Value.Limits.FileMax = 10000 }), `
warning open_files | 9120 of 10000 open files of the node are in use (91 %): at the limit every open(2) fails, errno 23 (ENFILE) | node[5200] of shop/cart-6d4f9c:web holds 700 | nothing: fs.file-max is at its floor, and nodetune does not raise it further | sudo nodetune why 5200`},
		{"descriptors of a process", with(func(in *Input) { in.Snapshot.Inotify.Value.Processes[2].FDs = 1000 }), `
warning own_limit | node[5200] of shop/cart-6d4f9c:web has 1000 of its 1024 descriptors open (97 %): at the limit it fails with errno 24 (EMFILE), which no sysctl prevents |  | nothing: inotify.raiseNOFILE does not name this program | sudo nodetune why 5200`},
		{"a limit of a user namespace", with(func(in *Input) {
			in.Snapshot.Inotify.Value.Accounts = append(in.Snapshot.Inotify.Value.Accounts, inotify.Account{Owner: inotify.Owner{UserNS: 7, UID: 100000}, Level: 1, Instances: 5, InstancesLimit: 5, WatchesLimit: 100, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact})
		}), `
warning own_limit | uid 100000 of user namespace 7 uses 5 of its own limit of 5 (100 %) |  | nothing: the limit is set inside the user namespace | sudo nodetune top --once`},
		{"a floor that does not hold", with(func(in *Input) {
			first(in).Value, first(in).Outcome, first(in).Reason = 128, sysctl.Drifted, "a collector started now fails"
			in.DryRun = true
		}), `
warning limit_not_held | fs.inotify.max_user_instances is 128, wanted at least 8192: a collector started now fails |  | raise fs.inotify.max_user_instances: 128 → 8192 | sudo nodetune apply`},
		{"a floor that another program lowers", with(func(in *Input) {
			first(in).Value, first(in).Outcome, first(in).Reason = 128, sysctl.Contested, "lowered 4 times"
			in.Snapshot.Sysctl.Value.ObservedWrites = sysctl.ObservedWrites{{Key: sysctl.MaxUserInstances, First: noon.Add(-time.Minute), Last: noon.Add(-time.Minute), Count: 4, From: 8192, To: 128, BelowFloor: true, Process: "tuned[812]", PID: 812, Unit: "tuned.service"}}
			in.Acts = append([]reporter.Act{{At: noon, Kind: reporter.ActUndoDrift, On: string(sysctl.MaxUserInstances), What: "fs.inotify.max_user_instances: 128 → 8192"}}, in.Acts...)
		}), `
warning limit_not_held | fs.inotify.max_user_instances is 128, wanted at least 8192: lowered 4 times | lowered 4 times in the last hour by tuned[812] of tuned.service | raise again fs.inotify.max_user_instances: 128 → 8192 | sudo nodetune explain fs.inotify.max_user_instances`},
		{"paused, and a floor does not hold", with(func(in *Input) {
			first(in).Value, first(in).Outcome = 128, sysctl.Drifted
			in.Snapshot.Sysctl.Value.Paused, in.Acts = "/run/nodetune/pause", nil
		}), `
warning limit_not_held | fs.inotify.max_user_instances is 128, wanted at least 8192 |  | nothing: it is paused by /run/nodetune/pause | sudo rm /run/nodetune/pause`},
		{"paused", with(func(in *Input) { in.Snapshot.Sysctl.Value.Paused = "/run/nodetune/pause" }), `
warning paused | nodetune is paused: every limit is in force, and none is raised or held | /run/nodetune/pause exists | nothing: it is paused | sudo rm /run/nodetune/pause`},
		{"a disk fills", logStorm(), `
critical disk | / has 11.5 % available, 23 GiB of 200 GiB: the kubelet evicts pods in 96s, it is full in 12m | shop/checkout-5f8b-qq2:web writes 31 MiB/s and holds 44 GiB | reclaim /var/log: freed 3.1 GiB in 4 acts, 23 GiB available now, which is not enough | sudo nodetune disk reclaim --until 80% --dry-run
warning log_storm | shop/checkout-5f8b-qq2:web writes 31 MiB of logs a second, over 1000 times as much as the others on average: / fills, and the kubelet evicts pods in 96s | shop/checkout-5f8b-qq2:web has 44 GiB of logs | nothing: nodetune slows down no writer | kubectl --namespace shop logs checkout-5f8b-qq2 --container web --tail 20`},
		{"a disk fills, and nodetune may only look", func() Input { in := logStorm(); in.DiskMode, in.Acts = disk.Observe, nil; return in }(), `
critical disk | / has 11.5 % available, 23 GiB of 200 GiB: the kubelet evicts pods in 96s, it is full in 12m | shop/checkout-5f8b-qq2:web writes 31 MiB/s and holds 44 GiB | nothing: disk.mode is observe, in which nodetune changes no log file | sudo nodetune disk reclaim --until 80% --dry-run
warning log_storm | shop/checkout-5f8b-qq2:web writes 31 MiB of logs a second, over 1000 times as much as the others on average: / fills, and the kubelet evicts pods in 96s | shop/checkout-5f8b-qq2:web has 44 GiB of logs | nothing: nodetune slows down no writer | kubectl --namespace shop logs checkout-5f8b-qq2 --container web --tail 20`},
		{"a log storm on a disk with space", with(func(in *Input) {
			d := &in.Snapshot.Disk.Value
			d.Producers[3].BytesPerSecond = ptr(float64(2 << 20))
			d.Readers[3].LagBytes = 9 << 20
			d.Filesystems[0].SecondsToEviction, d.Filesystems[0].SecondsToFull = nil, nil
			in.Acts = append([]reporter.Act{{Kind: "rotate", What: "/var/log/pods/x/0.log: rotated"}}, in.Acts...)
		}), `
warning log_storm | shop/cart-6d4f9c-03:web writes 2.0 MiB of logs a second, 919 times as much as the others on average | shop/cart-6d4f9c-03:web has 57 MiB of logs, of which fluent-bit[4711] of logging/fluent-bit-x7k2p:fluent-bit has 9.0 MiB unread | rotate /var/log/pods/x/0.log: rotated | kubectl --namespace shop logs cart-6d4f9c-03 --container web --tail 20`},
		{"inodes", with(func(in *Input) {
			d := &in.Snapshot.Disk.Value
			d.Filesystems[0].InodesFree, d.Filesystems[0].SecondsToEviction, d.Filesystems[0].SecondsToFull = 130_000, nil, nil
			d.Pressure = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonInodesLow, Message: "/ has 1.0% of its inodes free, wanted 10%"}
			for i := range d.Producers {
				d.Producers[i].BytesPerSecond = nil
			}
			in.Acts = nil
		}), `
critical disk | / has 60.5 % available, 121 GiB of 200 GiB, and 1.0 % of its inodes: the kubelet evicts pods below 20 GiB | shop/cart-6d4f9c-00:web holds the most: 60 MiB | nothing yet: no log can be removed without loss, or it was not looked at yet | sudo nodetune disk reclaim --until 80% --dry-run`},
		{"a disk that hangs", with(func(in *Input) {
			d := &in.Snapshot.Disk.Value
			d.Filesystems[0] = filesystem.Filesystem{Path: "/", State: filesystem.StateHung, Error: "statfs has not answered for 2m0s", Roles: []filesystem.Role{filesystem.RoleLogs}}
			d.Pressure = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonUnusable, Message: "/ is hung: nothing can be logged there"}
		}), `
critical disk | / is hung: nothing can be logged there |  | nothing yet: no log can be removed without loss, or it was not looked at yet | sudo dmesg --level=err,warn | tail -50`},
		{"a collector stalls", stalled(), `
critical collector_stalled | logging/fluent-bit-x7k2p has stopped reading with 9.0 MiB unread of shop/cart-6d4f9c-00:web and 2 more logs; restart it | fluent-bit[4711] of logging/fluent-bit-x7k2p:fluent-bit, with 9.0 MiB unread | nothing: nodetune restarts no collector | kubectl --namespace logging delete pod fluent-bit-x7k2p`},
		{"a collector of the host stalls", func() Input {
			in := stalled()
			in.Snapshot.Disk.Value.Readers[0].Who = workload.Workload{Unit: "rsyslog.service"}
			return in
		}(), `
critical collector_stalled | logging/fluent-bit-x7k2p has stopped reading with 9.0 MiB unread of shop/cart-6d4f9c-00:web and 2 more logs; restart it | fluent-bit[4711] of rsyslog.service, with 9.0 MiB unread | nothing: nodetune restarts no collector | sudo systemctl restart rsyslog.service`},
		{"logs without a reader", with(func(in *Input) {
			in.Snapshot.Disk.Value.Reading = disk.Assessment{Severity: disk.Bad, Reason: disk.ReasonUnfollowed, Message: "no process follows the log of shop/new:web"}
		}), `
critical collector_stalled | no process follows the log of shop/new:web |  | nothing: nodetune restarts no collector | sudo nodetune disk`},
		{"events are not read", with(func(in *Input) {
			in.Snapshot.Disk.Value.Readers[0].Start = 0
			p := &in.Snapshot.Inotify.Value.Processes[1]
			p.QueuedEvents, p.QueuedEventsLimit, p.EventsUnreadSeconds = 60000, 65536, 300
		}), `
critical collector_stalled | logging/fluent-bit-x7k2p:fluent-bit has read no inotify event for 5m0s: 60000 of 65536 wait |  | nothing: nodetune restarts no collector | sudo nodetune top --once`},
		{"a pass fails", with(func(in *Input) { in.Snapshot.Disk.Err = errors.New("walk /proc: permission denied") }), `
unknown pass_failed | disk could not be read: walk /proc: permission denied |  | nothing: what is not seen is not acted upon | sudo nodetune check --verbose`},
		{"a pass is stale", with(func(in *Input) { in.Snapshot.Inotify.At = noon.Add(-long) }), `
unknown pass_stale | no pass over inotify has ended for 10m: its figures below are old |  | nothing: what is not seen is not acted upon | sudo nodetune check --verbose`},
		{"not everything is seen", with(func(in *Input) { in.Snapshot.Disk.Value.Scan.Unreadable = 200 }), `
unknown not_seen | no stalled collector was seen, but the descriptors of 200 of 240 processes could not be read: that needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH |  | nothing: what is not seen is not acted upon | sudo nodetune check --verbose`},
		{"one look", with(func(in *Input) {
			first(in).Value, first(in).Outcome = 128, sysctl.Drifted
			in.Once, in.Acts = true, nil
		}), `
warning limit_not_held | fs.inotify.max_user_instances is 128, wanted at least 8192 |  | this is one look, which changes nothing | sudo nodetune apply`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewStatus(tt.in)
			got := ""
			for _, x := range s.Troubles.Rows {
				did := x.DidNot
				if x.Did != nil {
					did = actText(*x.Did)
				}
				got += fmt.Sprintf("\n%s %s | %s | %s | %s | %s", x.State, x.Kind, x.Summary, x.Cause, did, x.Next)
			}
			if got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			if rows := s.Troubles.Rows; len(rows) > 0 && (s.State != rows[0].State || s.Summary != rows[0].Summary) {
				t.Errorf("the node is %s: %s", s.State, s.Summary)
			}
			if b := render(t, s, 30); !strings.Contains(b, "<h1>") || strings.Contains(b, "ZgotmplZ") {
				t.Errorf("the page is\n%s", b)
			}
		})
	}
}

func TestSummaryWithoutTrouble(t *testing.T) {
	one := healthy()
	one.Snapshot.Sysctl.Value.Rules = one.Snapshot.Sysctl.Value.Rules[:1]
	alone := healthy()
	alone.Snapshot.Inotify = reporter.Result[inotify.Usage]{}
	for name, tt := range map[string]struct {
		in    Input
		state State
		want  string
	}{
		"healthy":       {healthy(), Healthy, "Healthy: 3 limits in force, nearest of the node is inotify instances of uid 0 at 1 %"},
		"one":           {one, Healthy, "Healthy: 1 limit in force, nearest of the node is inotify instances of uid 0 at 1 %"},
		"no processes":  {alone, Healthy, "Healthy: 3 limits in force"},
		"before a pass": {Input{Now: noon}, Starting, "Starting: no pass over the settings has ended yet"},
	} {
		if s := NewStatus(tt.in); s.State != tt.state || s.Summary != tt.want {
			t.Errorf("%s: %s %q, want %s %q", name, s.State, s.Summary, tt.state, tt.want)
		}
	}
}

// Since when is the time of the condition, or when a stall was seen first.
func TestSince(t *testing.T) {
	seven := noon.Add(-7 * time.Minute)
	unknown := with(func(in *Input) {
		in.Snapshot.Disk.Value.Scan.Unreadable = 200
		in.condition("LogCollectorStalled", corev1.ConditionUnknown)
	})
	other := logStorm()
	other.Conditions[0].Status = corev1.ConditionFalse // two passes have to agree
	young := stalled()
	young.Conditions = nil
	for name, tt := range map[string]struct {
		in   Input
		want *time.Time
	}{
		"condition": {logStorm(), &seven}, "failing calls": {exhausted(), &seven}, "unknown": {unknown, &seven},
		"not yet True": {other, nil}, "stalled before the condition": {young, ptr(noon.Add(-9 * time.Minute))},
	} {
		s := NewStatus(tt.in)
		if got := s.Troubles.Rows[0].Since; (got == nil) != (tt.want == nil) || got != nil && !got.Equal(*tt.want) {
			t.Errorf("%s: since %v, want %v", name, got, tt.want)
		}
	}
}

func TestLimits(t *testing.T) {
	in := exhausted()
	in.Snapshot.Inotify.Value.Accounts = append(in.Snapshot.Inotify.Value.Accounts,
		inotify.Account{Owner: inotify.Owner{UserNS: inotify.InitialUserNS, UID: 2}, InstancesLimit: inotify.NoLimit, WatchesLimit: 10, InstancesQuality: inotify.Unknown, WatchesQuality: inotify.Exact, Watches: 5},
		inotify.Account{Owner: inotify.Owner{UserNS: 9, UID: 3}, Level: 1, Instances: 3, InstancesLimit: 4, WatchesLimit: 10, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact})
	var got []string
	for _, l := range NewStatus(in).Limits.Rows {
		full := "-"
		if l.SecondsToFull != nil {
			full = fmt.Sprintf("%.0f", math.Floor(*l.SecondsToFull))
		}
		got = append(got, fmt.Sprintf("%s %s %d/%d %s full %s ceiling %d", l.State, l.Name, l.Used, l.Limit, l.Key, full, l.Ceiling))
	}
	want := []string{
		"critical inotify instances of uid 0 8192/8192 fs.inotify.max_user_instances full 0 ceiling 65536",
		"healthy own inotify instances of uid 3 of user namespace 9 3/4 fs.inotify.max_user_instances full - ceiling -1",
		"healthy descriptors of node[5200] of shop/cart-6d4f9c:web 700/1024 RLIMIT_NOFILE full 38880 ceiling -1",
		"healthy inotify watches of uid 2 5/10 fs.inotify.max_user_watches full - ceiling 1048576",
		"healthy open files of the node 9120/9223372036854775807 fs.file-max full - ceiling -1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestConsumers(t *testing.T) {
	s := NewStatus(exhausted())
	got := s.Consumers.Rows[0]
	if got.Name != "ci/build-agent-77" || got.Instances != 8060 || got.Percent < 98 || got.PID != 7001 {
		t.Errorf("the first is %+v", got)
	}
	for _, c := range s.Consumers.Rows {
		if c.Name == "containerd.service" && (c.Processes != 12 || c.Instances != 24 || c.FDs != 192) {
			t.Errorf("the shims are %+v", c)
		}
	}
}

func TestCollectors(t *testing.T) {
	in := stalled()
	d := &in.Snapshot.Disk.Value
	d.Readers = append(d.Readers,
		logs.Reader{PID: 9, Comm: "less", Interactive: true, Path: "/var/log/syslog"},
		logs.Reader{PID: 10, Comm: "rsyslogd", Who: workload.Workload{Unit: "rsyslog.service"}, Path: "/var/log/x", Watched: true})
	describe := func(in Input) string {
		var got []string
		for _, c := range NewStatus(in).Collectors.Rows {
			got = append(got, fmt.Sprintf("%s logs %d, containers %s, lag %d %v, loss %d, stalled %d", c.Name, c.Logs, containersText(c.Containers, c.ContainersSeen), c.LagBytes, c.LagKnown, c.PredictedLossBytes, c.Stalled))
		}
		return strings.Join(got, "\n")
	}
	const want = `fluent-bit of logging/fluent-bit-x7k2p:fluent-bit logs 12, containers 12 of 13, lag 28316160 true, loss 28311552, stalled 3
rsyslogd of rsyslog.service logs 1, containers -, lag 0 false, loss 0, stalled 0`
	if got := describe(in); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// Where rows are missing, the coverage is not known.
	d.Scan.Omitted = map[string]int{"readers": 40}
	if got := describe(in); !strings.HasPrefix(got, "fluent-bit of logging/fluent-bit-x7k2p:fluent-bit logs 12, containers -,") {
		t.Errorf("got\n%s", got)
	}
	if more := NewStatus(in).Collectors.More; more != 40 {
		t.Errorf("%d more, want 40", more)
	}
}

// A name goes into a line to paste only where a shell takes it as one word.
func TestPaste(t *testing.T) {
	for _, tt := range []struct {
		w    workload.Workload
		want string
	}{
		{workload.Workload{Namespace: "a", Pod: "b-1.c"}, "kubectl --namespace a delete pod b-1.c"},
		{workload.Workload{Namespace: "a", Pod: "b;reboot"}, "sudo nodetune why 7"},
		{workload.Workload{Namespace: "a", Pod: "b\nreboot"}, "sudo nodetune why 7"},
		{workload.Workload{Namespace: "a", Pod: "-all"}, "sudo nodetune why 7"},
		{workload.Workload{Namespace: "$(x)", Pod: "b"}, "sudo nodetune why 7"},
		{workload.Workload{Namespace: "", Pod: "b"}, "sudo nodetune why 7"},
		{workload.Workload{Namespace: "a", Pod: strings.Repeat("b", 300)}, "sudo nodetune why 7"},
		{workload.Workload{Unit: "rsyslog.service"}, "sudo systemctl restart rsyslog.service"},
		{workload.Workload{Unit: "user@1000.service"}, "sudo systemctl restart user@1000.service"},
		{workload.Workload{Unit: "--now.service"}, "sudo nodetune why 7"},
		{workload.Workload{Unit: `a\x2d.service`}, "sudo nodetune why 7"},
		{workload.Workload{Unit: "a b.service"}, "sudo nodetune why 7"},
		{workload.Workload{Unit: "session-1.scope"}, "sudo nodetune why 7"},
		{workload.Workload{}, "sudo nodetune why 7"},
	} {
		if next, then := (Input{}).restart(tt.w, 7); next != tt.want || then == "" {
			t.Errorf("%+v: %q, want %q", tt.w, next, tt.want)
		}
	}
	for file, want := range map[string]string{"/run/nodetune/pause": "sudo rm /run/nodetune/pause", "/run/a b": "ls -l /run/nodetune", "/run/$(x)": "ls -l /run/nodetune", "-rf": "ls -l /run/nodetune"} {
		if got := resume(file); got != want {
			t.Errorf("%q: %q", file, got)
		}
	}
}

// NewStatus changes nothing that it was given: others read the Snapshot, too.
func TestNewStatusIsPure(t *testing.T) {
	in := exhausted()
	in.Acts[0].What = strings.Repeat("\u202e", 300)
	before := fmt.Sprintf("%+v", in)
	a, b := fmt.Sprintf("%+v", NewStatus(in).Troubles.Rows[0].Summary), fmt.Sprintf("%+v", NewStatus(in).Troubles.Rows[0].Summary)
	if a != b || fmt.Sprintf("%+v", in) != before {
		t.Error("the second Status differs, or the input was changed")
	}
}

func TestGoldenPages(t *testing.T) {
	for name, in := range map[string]Input{"healthy": healthy(), "exhausted": exhausted(), "storm": logStorm(), "stalled": stalled()} {
		goldentest.Compare(t, name+".html", render(t, NewStatus(in), 30))
	}
	goldentest.Compare(t, "saved.html", render(t, NewStatus(exhausted()), 0))
}
