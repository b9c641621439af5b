package procscan

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nodetune/nodetune/inotify"
)

// fixedHolders is a walk with a given result.
type fixedHolders struct{ held inotify.DescriptorTableScan }

func (t fixedHolders) Holders() (inotify.DescriptorTableScan, error) { return t.held, nil }

func scanner(t *testing.T) *Scanner {
	t.Helper()
	s, err := New("/proc", "/sys", inotify.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestFound: an instance is charged once, to the account that created it, with those
// above, and is held by all that have it.
func TestFound(t *testing.T) {
	const below = 7
	s := scanner(t)
	ours := s.ns.self
	maker, inside, creator := inotify.Owner{UserNS: ours, UID: 5}, inotify.Owner{UserNS: below, UID: 9}, inotify.Owner{UserNS: ours, UID: 6}
	s.SetHolderSource(fixedHolders{inotify.DescriptorTableScan{
		Instances: []inotify.TableInstance{
			{Creator: maker, Watches: 10, QueuedEvents: 3, QueuedEventsLimit: 100},
			{Creator: maker, Watches: 20, QueuedEventsLimit: 200},
			{Creator: inside, Watches: 1, Uncounted: true},
		},
		Holders: []inotify.FDHolder{
			{PID: 101, Start: 20, UID: 8, UserNS: ours, Comm: "heir", FDs: 5, NOFILESoft: 1024, Instances: []int{0, 1}},
			{PID: 102, Start: 10, UID: 5, UserNS: ours, Comm: "maker", FDs: 4, NOFILESoft: 1024, Instances: []int{0}},
			{PID: 103, Start: 30, UID: 9, UserNS: below, Comm: "inside", FDs: 3, NOFILESoft: 1024, Instances: []int{2}},
			{PID: 104, Start: 40, UID: 0, UserNS: ours, Comm: "full", FDs: 600, NOFILESoft: 1024},
		},
		Above: map[uint64][]inotify.Owner{below: {creator}},
	}})
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if u.Source != inotify.SourceWalk || u.HoldersSource != inotify.SourceWalk || u.HoldersReason != "" || u.Instances != 3 || u.Watches != 31 || u.InstancesQuality == inotify.Exact {
		t.Errorf("got %+v", u)
	}
	type sum struct {
		inotify.Owner
		instances, watches int64
		top, topWatches    int
	}
	var sums []sum
	for _, a := range u.Accounts {
		sums = append(sums, sum{a.Owner, a.Instances, a.Watches, a.TopPID, a.TopWatchesPID})
		if a.InstancesQuality == inotify.Exact || (a.InstancesLimit == inotify.NoLimit) != (a.UserNS == below) {
			t.Errorf("got %+v", a)
		}
	}
	// What is shared was made by the one of them that has run longest.
	want := []sum{{maker, 2, 30, 101, 101}, {inside, 1, 1, 103, 103}, {creator, 1, 1, 103, 103}}
	if !slices.Equal(sums, want) {
		t.Errorf("got  %+v\nwant %+v", sums, want)
	}
	for pid, want := range map[int]inotify.Process{
		101: {Instances: 2, Watches: 30, FDs: 5, QueuedEvents: 3, QueuedEventsLimit: 100, Quality: inotify.Exact, WatchesQuality: inotify.Exact},
		102: {Instances: 1, Watches: 10, FDs: 4, QueuedEvents: 3, QueuedEventsLimit: 100, Quality: inotify.Exact, WatchesQuality: inotify.Exact},
		103: {Instances: 1, Watches: 1, FDs: 3, Quality: inotify.Exact, WatchesQuality: inotify.Estimate},
		104: {FDs: 600, Quality: inotify.Exact, WatchesQuality: inotify.Exact},
	} {
		p, ok := u.Process(pid)
		got := inotify.Process{
			Instances: p.Instances, Watches: p.Watches, FDs: p.FDs, Quality: p.Quality, WatchesQuality: p.WatchesQuality,
			QueuedEvents: p.QueuedEvents, QueuedEventsLimit: p.QueuedEventsLimit,
		}
		if !ok || got != want {
			t.Errorf("process %d: got %+v, want %+v", pid, got, want)
		}
	}
	if !slices.ContainsFunc(u.Unknown, func(g inotify.Gap) bool { return g.Processes == 1 && g.What[:11] == "all watches" }) {
		t.Errorf("no gap for an instance that was not counted: %+v", u.Unknown)
	}
}

// TestNotFound: where the walk fails, procfs is walked and the reason is there.
func TestNotFound(t *testing.T) {
	s := scanner(t)
	s.SetHolderSource(inotify.NoHolderSource{Why: errors.New("no capability")})
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if u.HoldersSource != inotify.SourceProcfs || u.HoldersReason != "no capability" || u.Walk.Processes == 0 {
		t.Errorf("got %s because %q, %d processes", u.HoldersSource, u.HoldersReason, u.Walk.Processes)
	}
}

// TestQueues: a process that reads its events is not reported as stalled, however
// many events come.
func TestQueues(t *testing.T) {
	now := time.Unix(0, 0)
	q := queues{}
	for i, c := range []struct{ events, other, unread int64 }{
		{5, 0, 0},
		{5, 0, 60},
		{9, 0, 120},
		{8, 0, 0},
		{8, 0, 60},
		{0, 0, 0},
		{1, 0, 0},
		{1, 900, 60},
		{2, 1, 120},
		{0, 1, 60},
		{0, 0, 0},
	} {
		p := inotify.Process{PID: 1, Start: 2}
		q.add(&p, &inotify.TableInstance{Number: 1, QueuedEvents: c.events, QueuedEventsLimit: 1000}, now)
		q.add(&p, &inotify.TableInstance{Number: 2, QueuedEvents: c.other, QueuedEventsLimit: 1000}, now)
		q.forget(now)
		if p.EventsUnreadSeconds != c.unread || p.QueuedEvents != max(c.events, c.other) || p.QueuedEventsLimit != 1000 {
			t.Errorf("pass %d, with %d and %d events: got %+v", i, c.events, c.other, p)
		}
		now = now.Add(time.Minute)
	}
	if len(q) != 0 {
		t.Errorf("%d queues are remembered", len(q))
	}
}
