package text

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
)

func TestHoldersTable(t *testing.T) {
	u := reportertest.Roomy()
	u.Accounts[0].Instances, u.Accounts[0].InstancesQuality, u.Accounts[0].TopPID = 110, inotify.UpperBound, 812
	u.Accounts[1].InstancesLimit, u.Accounts[1].WatchesQuality = inotify.NoLimit, inotify.Unknown
	for i := range u.Processes {
		u.Processes[i].Quality, u.Processes[i].WatchesQuality = inotify.Exact, inotify.Exact
	}
	u.Processes[1].Comm, u.Processes[1].FDs = "evil\x1b]0;\a", 1000
	u.Processes[0].WatchesQuality, u.Processes[0].WatchesAgeSeconds = inotify.Estimate, 90
	u.Findings = inotify.Pressure(u, inotify.DefaultPolicy())
	u.Unknown = []inotify.Gap{{What: "descriptors", Why: "refused", Processes: 3}}
	var b strings.Builder
	if err := HoldersTable(&b, u, 3, false); err != nil {
		t.Fatal(err)
	}
	const want = `USERNS   UID     INSTANCES  %    WATCHES       %
initial  0       ≤110/128   85%  400/8192      4%
7        100000  3/?             ?/2147483648

PID  UID     COMM           INSTANCES  WATCHES         FDS/NOFILE   POD OR UNIT
812  0       kubelet        50         ~300 (90s ago)  310/1000000  kubelet.service
900  100000  evil\x1b]0;\a  3          10              1000/1024
901  1000    other          70         9               9/1024
... and 1 more process

pressure: evil\x1b]0;\a[900] has 1000 of 1024 (97%) descriptors open: past that errno 24, which no sysctl mends; see 'nodetune why'

pressure: uid 0 has ≤110 of 128 (85%) inotify instances, most of them kubelet[812] of kubelet.service: past that errno 24, and no collector of this user starts

Not known
  descriptors: refused (3 processes)
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFindingText(t *testing.T) {
	owner := &inotify.Owner{UID: 7}
	for _, c := range []struct {
		f    inotify.LimitPressure
		want string
	}{
		{inotify.LimitPressure{Resource: inotify.Watches, Owner: owner, Used: 9, Limit: 10, Quality: inotify.Exact}, "uid 7 has 9 of 10 (90%) inotify watches: past that errno 28, and collectors of this user follow no new file"},
		{inotify.LimitPressure{Resource: inotify.OpenFiles, Used: 9, Limit: 10, Quality: inotify.Exact, Top: &inotify.Process{PID: 5, Comm: "a\nb"}}, `the node has 9 of 10 (90%) open files, most of them a\nb[5]: past that errno 23 for every process without CAP_SYS_ADMIN`},
	} {
		if got := findingText(c.f); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestEventsColumn: where queues are known, what waits in them is shown.
func TestEventsColumn(t *testing.T) {
	u := reportertest.Roomy()
	u.HoldersSource = inotify.SourceWalk
	u.Processes = u.Processes[:2]
	u.Processes[0].QueuedEvents, u.Processes[0].QueuedEventsLimit = 321, 16384
	var b strings.Builder
	if err := HoldersTable(&b, u, 3, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"WATCHES  EVENTS     FDS/NOFILE", "  321/16384  310/", "  0          9/"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// What a limit refused is shown, and what failed otherwise is not.
func TestRefusedInTheTable(t *testing.T) {
	var b strings.Builder
	if err := HoldersTable(&b, inotify.Usage{Refusals: reportertest.RefusedOfEachKind}, 0, false); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "refused: "); n != failureRows || !strings.Contains(b.String(), "... and 2 more refusals") || strings.Contains(b.String(), "ENOENT") {
		t.Errorf("%d lines of refusals in\n%s", n, b.String())
	}
}
