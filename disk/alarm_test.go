package disk

import (
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
)

func TestPressure(t *testing.T) {
	p := DefaultPolicy().Pressure
	ok := Filesystem{Path: "/var/log", Roles: []Role{RoleLogs}, State: StateOK, SizeBytes: 1000, AvailBytes: 500, Inodes: 100, InodesFree: 50, Device: "8:1"}
	for name, c := range map[string]struct {
		change func(*Filesystem)
		level  Level
		reason string
		says   string
	}{
		"enough":            {func(*Filesystem) {}, Clear, ReasonSpace, ""},
		"below":             {func(f *Filesystem) { f.AvailBytes = 149 }, Bad, ReasonSpaceLow, "14.9%"},
		"at the threshold":  {func(f *Filesystem) { f.AvailBytes = 150 }, Between, ReasonSpace, "enough again at 20%"},
		"recovered":         {func(f *Filesystem) { f.AvailBytes = 200 }, Clear, ReasonSpace, ""},
		"above eviction":    {func(f *Filesystem) { f.AvailBytes = 199; f.EvictionAvailBytes = disktest.Ptr(uint64(150)) }, Bad, ReasonSpaceLow, "wanted 20%"},
		"eviction, between": {func(f *Filesystem) { f.AvailBytes = 240; f.EvictionAvailBytes = disktest.Ptr(uint64(150)) }, Between, ReasonSpace, "25%"},
		"inodes":            {func(f *Filesystem) { f.InodesFree = 9 }, Bad, ReasonInodesLow, "9.0%"},
		"no inodes (btrfs)": {func(f *Filesystem) { f.Inodes, f.InodesFree = 0, 0 }, Clear, ReasonSpace, ""},
		"eviction soon":     {func(f *Filesystem) { f.SecondsToEviction = disktest.Ptr(599.0) }, Bad, ReasonEvictionSoon, "10m"},
		"full soon":         {func(f *Filesystem) { f.SecondsToFull = disktest.Ptr(1.0) }, Bad, ReasonFullSoon, "full within"},
		"full, not soon":    {func(f *Filesystem) { f.SecondsToFull = disktest.Ptr(600.0) }, Clear, ReasonSpace, ""},
		"hung":              {func(f *Filesystem) { f.State, f.Error = StateHung, "for 1m" }, Bad, ReasonUnusable, "hung (for 1m)"},
		"shut down":         {func(f *Filesystem) { f.State = StateShutDown }, Bad, ReasonUnusable, "shut down"},
		"holds no logs":     {func(f *Filesystem) { f.AvailBytes, f.Roles = 0, []Role{RoleRuntime} }, Clear, ReasonSpace, ""},
	} {
		f := ok
		c.change(&f)
		a := pressure(Usage{Filesystems: []Filesystem{ok, f}}, p)
		if a.Level != c.level || a.Reason != c.reason || !strings.Contains(a.Message, c.says) {
			t.Errorf("%s: %+v, want level %d %s with %q", name, a, c.level, c.reason, c.says)
		}
	}
}

// The largest producer of the disk that is short is named, not one of another.
func TestPressureNamesTheProducer(t *testing.T) {
	u := Usage{
		Filesystems: []Filesystem{
			{Path: "/", Paths: []string{"/var/lib/kubelet"}, Device: "8:0", State: StateOK, SizeBytes: 100, AvailBytes: 90},
			{Path: "/var/log", Device: "8:1", Roles: []Role{RoleLogs}, State: StateOK, SizeBytes: 100, AvailBytes: 1, Inodes: 1, InodesFree: 1},
		},
		Producers: []Producer{
			{Path: "/run/log/journal/0", Bytes: 99 << 30},
			{Path: "/var/log/pods/x/app", Bytes: 5 << 30},
			{Path: "/var/log/syslog", Bytes: 1 << 30},
		},
	}
	u.Producers[1].Namespace, u.Producers[1].Pod, u.Producers[1].Container = "prod", "web", "app"
	a := pressure(u, DefaultPolicy().Pressure)
	if !strings.HasSuffix(a.Message, "; logs hold 6.0 GiB, most of it prod/web:app with 5.0 GiB") || len(a.Message) > 256 {
		t.Errorf("%q", a.Message)
	}

	// What fills a disk of 100 GiB is not logs of 6.
	u.Filesystems[1].SizeBytes, u.Filesystems[1].AvailBytes, u.Filesystems[1].ReservedBytes = 105<<30, 1<<30, 5<<30
	a = pressure(u, DefaultPolicy().Pressure)
	if !strings.HasSuffix(a.Message, "; logs hold only 6.0 GiB of the 99 GiB in use") {
		t.Errorf("%q", a.Message)
	}
}

func TestReading(t *testing.T) {
	p := DefaultPolicy().Readers
	now := disktest.Epoch.Add(time.Hour)
	long, short := now.Add(-time.Hour), now.Add(-time.Second)
	grew := func(since time.Time, n uint64) Unfollowed { return Unfollowed{GrewBytes: n, Since: &since} }
	for name, c := range map[string]struct {
		u         Usage
		collected bool
		level     Level
		reason    string
	}{
		"nothing":              {Usage{}, true, Clear, ReasonReading},
		"a lagging reader":     {Usage{Readers: []Reader{{LagBytes: 1 << 30}}}, true, Clear, ReasonReading},
		"a stalled reader":     {Usage{Readers: []Reader{{LagBytes: 1, StalledSince: &long}}}, false, Bad, ReasonStalled},
		"unfollowed":           {Usage{Unfollowed: []Unfollowed{grew(long, 10)}}, true, Bad, ReasonUnfollowed},
		"unfollowed of late":   {Usage{Unfollowed: []Unfollowed{grew(short, 10)}}, true, Between, ReasonReading},
		"unfollowed and quiet": {Usage{Unfollowed: []Unfollowed{grew(long, 0)}}, true, Clear, ReasonReading},
		"no collector at all":  {Usage{Unfollowed: []Unfollowed{grew(long, 10)}}, false, Clear, ReasonReading},
	} {
		if a := reading(c.u, p, c.collected, now); a.Level != c.level || a.Reason != c.reason {
			t.Errorf("%s: %+v, want level %d %s", name, a, c.level, c.reason)
		}
	}
	p.Uncollected = []string{"kube-system/*", "logging/fluent-bit-?????"}
	for pod, want := range map[string]Level{"kube-system/coredns-1": Clear, "logging/fluent-bit-x7k2p": Clear, "logging/other": Bad, "shop/fluent-bit-x7k2p": Bad} {
		x := grew(long, 10)
		x.Namespace, x.Pod, _ = strings.Cut(pod, "/")
		if a := reading(Usage{Unfollowed: []Unfollowed{x}}, p, true, now); a.Level != want {
			t.Errorf("%s: %+v, want level %d", pod, a, want)
		}
	}
	blind := Usage{Readers: []Reader{{LagBytes: 1, StalledSince: &long, Open: true}}}
	if a := reading(blind, p, true, now); !strings.Contains(a.Message, "it has no inotify watch there") || !strings.Contains(a.Message, "restart it") {
		t.Errorf("%q does not say what helps", a.Message)
	}
}

func TestAdvance(t *testing.T) {
	at := func(s int) time.Time { return disktest.Epoch.Add(time.Duration(s) * time.Second) }
	var p progress
	for i, c := range []struct {
		second    int
		pos, size uint64
		stalled   time.Time
	}{
		{0, 100, 100, time.Time{}},
		{10, 100, 100, time.Time{}}, // nothing to read
		{20, 100, 200, at(0)},       // the file grew, it did not move
		{30, 100, 200, at(0)},
		{40, 150, 200, time.Time{}}, // it moves
		{50, 150, 200, time.Time{}}, // unread, but the file does not grow
		{60, 150, 201, at(40)},
		{70, 0, 50, time.Time{}}, // truncated, and noticed
	} {
		if got := p.advance(c.pos, c.size, at(c.second)); !got.Equal(c.stalled) {
			t.Errorf("step %d: stalled since %v, want %v", i, got, c.stalled)
		}
	}
	if p.speed != 5 {
		t.Errorf("speed %v, want 5 (50 bytes in 10 s)", p.speed)
	}
	if got := predictedLoss(1000, 100, 5*time.Second); got != 500 {
		t.Errorf("predicted loss %d, want 500", got)
	}
	if got := predictedLoss(499, 100, 5*time.Second); got != 0 {
		t.Errorf("predicted loss %d, want 0", got)
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.0 KiB", 1 << 20: "1.0 MiB", 430 << 20: "430 MiB", 1<<64 - 1: "16 EiB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}
