package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/goldentest"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/health"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

// full is a node with a series of every family.
func full(now time.Time) reporter.Snapshot {
	status := func(k sysctl.Key, want, before, value sysctl.Value, o sysctl.Outcome) sysctl.Status {
		return sysctl.Status{Rule: sysctl.Rule{Key: k, Op: sysctl.AtLeast, Want: want, Ceiling: sysctl.Unknown}, Before: before, Value: value, Outcome: o, Changed: before != value}
	}
	limited := status(sysctl.MaxUserInstances, 8192, 128, 8192, sysctl.Contested)
	limited.Ceiling = 131072
	reported := sysctl.Status{Rule: sysctl.Rule{Key: sysctl.NrOpen, Op: sysctl.Report, Want: sysctl.Unknown, Ceiling: sysctl.Unknown}, Before: 1048576, Value: 1048576, Outcome: sysctl.InForce}
	return reporter.Snapshot{
		Disk: reporter.Result[disk.Usage]{At: now, Value: reportertest.FullDisk(now)},
		Sysctl: reporter.Result[sysctl.PassResult]{At: now, Value: sysctl.PassResult{
			Paused: "/run/nodetune/pause",
			ObservedWrites: sysctl.ObservedWrites{
				{Key: sysctl.MaxUserInstances, First: now, Last: now, Count: 3, From: 8192, To: 128, BelowFloor: true, Process: "tuned[812]", PID: 812, Unit: "tuned.service"},
				{Key: sysctl.MaxUserInstances, First: now, Last: now, Count: 1, From: 8192, To: 128, BelowFloor: true, Process: "tuned[815]", PID: 815, Unit: "tuned.service"},
				{Key: sysctl.MaxUserInstances, First: now, Last: now, Count: 7, From: 128, To: 8192, Process: "raises[8]", PID: 8},
				{Key: sysctl.MaxUserInstances, First: now, Last: now.Add(-time.Hour), Count: 7, From: 8192, To: 128, Process: "old[9]", PID: 9},
			},
			Rules: []sysctl.Status{
				limited,
				status(sysctl.MaxUserWatches, 524288, 1000, 1000, sysctl.Failed),
				status(sysctl.FileMax, 1<<20, 1<<63-1, 1<<63-1, sysctl.InForce),
				status(sysctl.EpollMaxUserWatches, 1, sysctl.Unknown, sysctl.Unknown, sysctl.Absent),
				reported,
			},
		}},
		Inotify: reporter.Result[inotify.Usage]{At: now, Value: inotify.Usage{
			Source: inotify.SourceKernel, HoldersSource: inotify.SourceWalk, InstancesUnattributed: 5,
			Limits: inotify.Limits{FileMax: 2466170, OpenFiles: 4032},
			Walk:   procwalk.Stats{Processes: 512, Unreadable: []procwalk.Unreadable{{Reason: "a", Processes: 2}, {Reason: "b", Processes: 1}}},
			Accounts: []inotify.Account{
				{Owner: inotify.Owner{UserNS: 4026531837, UID: 0}, Instances: 120, InstancesLimit: 8192, Watches: 4904, WatchesLimit: 524288},
				{Owner: inotify.Owner{UserNS: 4026532700, UID: 100000}, Instances: 3, InstancesLimit: inotify.NoLimit, WatchesQuality: inotify.Unknown, WatchesLimit: inotify.NoLimit},
			},
			Processes: []inotify.Process{
				{Comm: "containerd-shim", Instances: 2, FDs: 12, NOFILESoft: 1024},
				{Comm: "containerd-shim", Instances: 2, FDs: 20, NOFILESoft: 1024},
				{Comm: "fluent-bit", Namespace: "logging", Pod: "fluent-bit-x7k2p", Container: "fluent-bit", Instances: 1, Watches: 4800, FDs: 900, NOFILESoft: 1024, QueuedEvents: 321, QueuedEventsLimit: 16384},
				// A program chooses its own name.
				{Comm: "evil\"\n\x1b[2J\xff", Instances: 1, Watches: 3, WatchesQuality: inotify.Unknown, FDs: 3, NOFILESoft: inotify.NoLimit},
			},
		}},
	}
}

// exposition is what a scrape of s returns of nodetune's own families.
func exposition(t *testing.T, s reporter.Snapshot, passes ...health.Pass) string {
	t.Helper()
	m := NewExporter(func() reporter.Snapshot { return s }, func() []health.Pass { return passes }, Build{Version: "v1.2.3", Revision: "0123abc", Go: "go1.26"})
	m.CountSysctl(sysctl.PassResult{Rules: []sysctl.Status{{Rule: sysctl.Rule{Key: sysctl.MaxUserInstances}, Value: 8192}}}, s.Sysctl.Value)
	m.Reloaded(true, time.Now())
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("a scrape is answered with %d: %s", w.Code, w.Body)
	}
	var own strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "nodetune_") {
			own.WriteString(line)
		}
	}
	return own.String()
}

// fullExposition is that of a node with a series of every family,
// at a fixed time.
func fullExposition(t *testing.T) string {
	t.Helper()
	var got string
	synctest.Test(t, func(t *testing.T) {
		now := time.Now() // midnight UTC 2000-01-01
		time.Sleep(time.Minute)
		got = exposition(t, full(now),
			health.Pass{Task: "sysctl", Every: time.Minute, Since: now, Ended: now, Took: 300 * time.Microsecond, Done: 7},
			health.Pass{Task: "inotify", Every: time.Minute, Since: now, Began: now, Ended: now, Took: 20 * time.Millisecond, Done: 5, Failed: 2, LastErr: errors.New("no")})
	})
	return got
}

func TestGoldenExposition(t *testing.T) {
	goldentest.Compare(t, "metrics.txt", fullExposition(t))
}

func TestExpositionLint(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(fullExposition(t))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Debian's promtool, which users have, beside the library.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	switch {
	case err != nil && os.Getenv(privtest.Env) == "1":
		t.Fatalf("%v: run .ci/deps", err)
	case err != nil:
		t.Skip("promtool is not installed; .ci/deps installs it, and make test runs this")
	}
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(fullExposition(t))
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// What has not been seen is not sent as 0: unknown is not healthy.
func TestUnknownIsNoSeries(t *testing.T) {
	for _, s := range []reporter.Snapshot{
		{},
		{
			Sysctl:  reporter.Result[sysctl.PassResult]{At: time.Now(), Err: errors.New("no")},
			Inotify: reporter.Result[inotify.Usage]{At: time.Now(), Err: errors.New("no")},
		},
	} {
		got := exposition(t, s)
		for _, family := range []string{"nodetune_sysctl_value", "nodetune_sysctl_drifted", "nodetune_paused", "nodetune_open_files", "nodetune_inotify", "nodetune_scan"} {
			if strings.Contains(got, family) {
				t.Errorf("nothing is known, and a scrape has %s:\n%s", family, got)
			}
		}
	}
}

func TestSeriesAreBounded(t *testing.T) {
	s := full(time.Now())
	u := &s.Inotify.Value
	for i := range 5000 {
		u.Processes = append(u.Processes, inotify.Process{PID: i, Comm: fmt.Sprintf("p%d", i), Instances: int64(i), Watches: int64(i), FDs: int64(i), NOFILESoft: 100000})
		u.Accounts = append(u.Accounts, inotify.Account{Owner: inotify.Owner{UID: uint32(i)}})
	}
	got := exposition(t, s)
	count := make(map[string]int)
	for line := range strings.Lines(got) {
		if name, _, ok := strings.Cut(line, "{"); ok && !strings.HasPrefix(line, "#") {
			count[name]++
		}
	}
	for name, n := range count {
		if n > topSeries {
			t.Errorf("%s has %d series", name, n)
		}
	}
	if !strings.Contains(got, `nodetune_inotify_consumer_instances{comm="p4999",container="",namespace="",pod=""} 4999`) {
		t.Error("the largest consumer is missing")
	}
	if strings.Contains(got, "pid=") {
		t.Error("a pid is a label")
	}
}

func BenchmarkScrape(b *testing.B) {
	s := full(time.Now())
	for i := range 200 {
		s.Inotify.Value.Processes = append(s.Inotify.Value.Processes, inotify.Process{PID: i, Comm: fmt.Sprintf("p%d", i), Instances: int64(i), Watches: int64(i), FDs: int64(i), NOFILESoft: 100000})
	}
	m := NewExporter(func() reporter.Snapshot { return s }, func() []health.Pass { return nil }, Build{})
	h := m.Handler()
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		b.ReportMetric(float64(w.Body.Len()), "bytes/scrape")
	}
}
