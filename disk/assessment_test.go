package disk

import (
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/workload"
)

func TestPressure(t *testing.T) {
	p := DefaultPolicy().Pressure
	ok := filesystem.Filesystem{Path: "/var/log", Roles: []filesystem.Role{filesystem.RoleLogs}, State: filesystem.StateOK, SizeBytes: 1000, AvailBytes: 500, Inodes: 100, InodesFree: 50, Device: "8:1"}
	for name, c := range map[string]struct {
		change func(*filesystem.Filesystem)
		level  Severity
		reason string
		says   string
	}{
		"enough":            {func(*filesystem.Filesystem) {}, Clear, ReasonSpace, ""},
		"below":             {func(f *filesystem.Filesystem) { f.AvailBytes = 149 }, Bad, ReasonSpaceLow, "14.9%"},
		"at the threshold":  {func(f *filesystem.Filesystem) { f.AvailBytes = 150 }, Between, ReasonSpace, "enough again at 20%"},
		"recovered":         {func(f *filesystem.Filesystem) { f.AvailBytes = 200 }, Clear, ReasonSpace, ""},
		"above eviction":    {func(f *filesystem.Filesystem) { f.AvailBytes = 199; f.EvictionAvailBytes = disktest.Ptr(uint64(150)) }, Bad, ReasonSpaceLow, "wanted 20%"},
		"eviction, between": {func(f *filesystem.Filesystem) { f.AvailBytes = 240; f.EvictionAvailBytes = disktest.Ptr(uint64(150)) }, Between, ReasonSpace, "25%"},
		"inodes":            {func(f *filesystem.Filesystem) { f.InodesFree = 9 }, Bad, ReasonInodesLow, "9.0%"},
		"no inodes (btrfs)": {func(f *filesystem.Filesystem) { f.Inodes, f.InodesFree = 0, 0 }, Clear, ReasonSpace, ""},
		"eviction soon":     {func(f *filesystem.Filesystem) { f.SecondsToEviction = disktest.Ptr(599.0) }, Bad, ReasonEvictionSoon, "10m"},
		"full soon":         {func(f *filesystem.Filesystem) { f.SecondsToFull = disktest.Ptr(1.0) }, Bad, ReasonFullSoon, "full within"},
		"full, not soon":    {func(f *filesystem.Filesystem) { f.SecondsToFull = disktest.Ptr(600.0) }, Between, ReasonSpace, "lasts for more than 10m"},
		"full, much later":  {func(f *filesystem.Filesystem) { f.SecondsToFull = disktest.Ptr(1200.0) }, Clear, ReasonSpace, ""},
		"first looks":       {func(f *filesystem.Filesystem) { f.SecondsToFull, f.ShortWindow = disktest.Ptr(400.0), true }, Clear, ReasonSpace, ""},
		"first, in a storm": {func(f *filesystem.Filesystem) { f.SecondsToFull, f.ShortWindow = disktest.Ptr(100.0), true }, Bad, ReasonFullSoon, "full within"},
		"hung":              {func(f *filesystem.Filesystem) { f.State, f.Error = filesystem.StateHung, "for 1m" }, Bad, ReasonUnusable, "hung (for 1m)"},
		"shut down":         {func(f *filesystem.Filesystem) { f.State = filesystem.StateShutDown }, Bad, ReasonUnusable, "shut down"},
		"holds no logs":     {func(f *filesystem.Filesystem) { f.AvailBytes, f.Roles = 0, []filesystem.Role{filesystem.RoleRuntime} }, Clear, ReasonSpace, ""},
	} {
		f := ok
		c.change(&f)
		a := assessPressure(Usage{Filesystems: []filesystem.Filesystem{ok, f}}, p)
		if a.Severity != c.level || a.Reason != c.reason || !strings.Contains(a.Message, c.says) {
			t.Errorf("%s: %+v, want level %d %s with %q", name, a, c.level, c.reason, c.says)
		}
	}
}

// The largest producer of the disk that is short is named, not one of another.
func TestPressureNamesTheProducer(t *testing.T) {
	u := Usage{
		Filesystems: []filesystem.Filesystem{
			{Path: "/", Paths: []string{"/var/lib/kubelet"}, Device: "8:0", State: filesystem.StateOK, SizeBytes: 100, AvailBytes: 90},
			{Path: "/var/log", Device: "8:1", Roles: []filesystem.Role{filesystem.RoleLogs}, State: filesystem.StateOK, SizeBytes: 100, AvailBytes: 1, Inodes: 1, InodesFree: 1},
		},
		Producers: []logs.Producer{
			{Path: "/run/log/journal/0", Bytes: 99 << 30},
			{Path: "/var/log/pods/x/app", Bytes: 5 << 30},
			{Path: "/var/log/syslog", Bytes: 1 << 30},
		},
	}
	u.Producers[1].Namespace, u.Producers[1].Pod, u.Producers[1].Container = "prod", "web", "app"
	a := assessPressure(u, DefaultPolicy().Pressure)
	if !strings.HasSuffix(a.Message, "; logs hold 6.0 GiB, most of it prod/web:app with 5.0 GiB") || len(a.Message) > 256 {
		t.Errorf("%q", a.Message)
	}

	// What fills a disk of 100 GiB is not logs of 6.
	u.Filesystems[1].SizeBytes, u.Filesystems[1].AvailBytes, u.Filesystems[1].ReservedBytes = 105<<30, 1<<30, 5<<30
	a = assessPressure(u, DefaultPolicy().Pressure)
	if !strings.HasSuffix(a.Message, "; logs hold only 6.0 GiB of the 99 GiB in use") {
		t.Errorf("%q", a.Message)
	}
}

func TestReading(t *testing.T) {
	p := DefaultPolicy().Readers
	now := disktest.Epoch.Add(time.Hour)
	long, short := now.Add(-time.Hour), now.Add(-time.Second)
	grew := func(since time.Time, n uint64) logs.Unfollowed { return logs.Unfollowed{GrewBytes: n, Since: &since} }
	for name, c := range map[string]struct {
		u         Usage
		collected bool
		level     Severity
		reason    string
	}{
		"nothing":              {Usage{}, true, Clear, ReasonReading},
		"a lagging reader":     {Usage{Readers: []logs.Reader{{LagBytes: 1 << 30}}}, true, Clear, ReasonReading},
		"a stalled reader":     {Usage{Readers: []logs.Reader{{LagBytes: 1, StalledSince: &long}}}, false, Bad, ReasonStalled},
		"unfollowed":           {Usage{Unfollowed: []logs.Unfollowed{grew(long, 10)}}, true, Bad, ReasonUnfollowed},
		"unfollowed of late":   {Usage{Unfollowed: []logs.Unfollowed{grew(short, 10)}}, true, Between, ReasonReading},
		"unfollowed and quiet": {Usage{Unfollowed: []logs.Unfollowed{grew(long, 0)}}, true, Clear, ReasonReading},
		"no collector at all":  {Usage{Unfollowed: []logs.Unfollowed{grew(long, 10)}}, false, Clear, ReasonReading},
	} {
		if a := assessReaders(c.u, p, c.collected, now); a.Severity != c.level || a.Reason != c.reason {
			t.Errorf("%s: %+v, want level %d %s", name, a, c.level, c.reason)
		}
	}
	p.Uncollected = []string{"kube-system/*", "logging/fluent-bit-?????"}
	for pod, want := range map[string]Severity{"kube-system/coredns-1": Clear, "logging/fluent-bit-x7k2p": Clear, "logging/other": Bad, "shop/fluent-bit-x7k2p": Bad} {
		x := grew(long, 10)
		x.Namespace, x.Pod, _ = strings.Cut(pod, "/")
		if a := assessReaders(Usage{Unfollowed: []logs.Unfollowed{x}}, p, true, now); a.Severity != want {
			t.Errorf("%s: %+v, want level %d", pod, a, want)
		}
	}
	blind := Usage{Readers: []logs.Reader{{LagBytes: 1, StalledSince: &long, Open: true}}}
	if a := assessReaders(blind, p, true, now); !strings.Contains(a.Message, "it has no inotify watch there") || !strings.Contains(a.Message, "restart it") {
		t.Errorf("%q does not say what helps", a.Message)
	}
}

// One more log is not "1 more logs".
func TestAssessmentCountsLogs(t *testing.T) {
	since := time.Now()
	var u Usage
	for n, want := range map[int]string{1: "of shop/a:b; ", 2: "of shop/a:b and 1 more log; ", 3: "of shop/a:b and 2 more logs; "} {
		u.Readers = nil
		for range n {
			u.Readers = append(u.Readers, logs.Reader{Who: workload.Workload{Namespace: "l", Pod: "c"}, Log: workload.Workload{Namespace: "shop", Pod: "a", Container: "b"}, StalledSince: &since, Watched: true})
		}
		if a := assessReaders(u, logs.ReadersPolicy{}, true, since); !strings.Contains(a.Message, want) {
			t.Errorf("%d: %q, want %q in it", n, a.Message, want)
		}
	}
}
