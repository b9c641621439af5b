package inotify

import (
	"math"
	"slices"
	"testing"
	"time"
)

func charged(instances, watches int64) []AccountUsage {
	return []AccountUsage{{Owner: Owner{UID: 7}, Instances: instances, InstancesLimit: 8192, Watches: watches, WatchesLimit: 100_000}}
}

// What is reached within a quarter of a second is reported, of the initial user
// namespace.
func TestSurge(t *testing.T) {
	for _, c := range []struct {
		name    string
		was, is []AccountUsage
		took    time.Duration
		want    []Resource
	}{
		{"as fast as the kernel gives them", charged(130, 0), charged(2650, 0), 4 * time.Millisecond, []Resource{Instances}},
		{"a pod that starts", charged(130, 0), charged(200, 0), 100 * time.Millisecond, nil},
		{"less", charged(2650, 0), charged(130, 0), time.Millisecond, nil},
		{"both, the nearest first", charged(130, 0), charged(500, 90_000), 10 * time.Millisecond, []Resource{Watches, Instances}},
		{"nothing is left", charged(8000, 0), charged(8192, 0), time.Second, []Resource{Instances}},
		{"another user", nil, charged(8000, 0), time.Millisecond, nil},
		{"no time", charged(1, 0), charged(8000, 0), 0, nil},
	} {
		got := Surge(c.was, c.is, c.took)
		ok := len(got) == len(c.want)
		for i := range got {
			ok = ok && got[i].Resource == c.want[i] && got[i].In <= SurgeWithin && got[i].In >= 0 && *got[i].Owner == c.is[0].Owner
		}
		if !ok {
			t.Errorf("%s: got %+v, want %v", c.name, got, c.want)
		}
	}
	below := charged(2650, 0)
	below[0].Level = 1
	if got := Surge(charged(130, 0), below, time.Millisecond); got != nil {
		t.Errorf("of a user namespace: %+v", got)
	}
}

// A surge is met by one step that lasts, and never feeds what may be a leak.
func TestRaiseBetween(t *testing.T) {
	p := DefaultPolicy()
	last := usage(130, 0)
	for _, c := range []struct {
		name   string
		last   Usage
		is     []AccountUsage
		most   int64
		want   int64
		unsure bool
	}{
		{"one step", last, charged(2650, 0), 1 << 31, 1 << 18, false},
		{"up to the ceiling", last, charged(2650, 0), 65536, 65536, false},
		{"may be a leak", last, charged(2650+4096, 0), 1 << 31, 0, true},
		{"no pass has run yet", Usage{}, charged(4100, 0), 1 << 31, 0, true},
		{"at the ceiling", last, charged(2650, 0), 8192, 0, false},
	} {
		p.MaxInstances = c.most
		was := charged(130, 0)
		was[0].Owner = c.is[0].Owner
		got, unsure := RaiseBetween(c.last, c.is, Surge(was, c.is, 4*time.Millisecond), p)
		if c.want == 0 {
			if len(got) != 0 || unsure != c.unsure {
				t.Errorf("%s: got %+v, unsure %v", c.name, got, unsure)
			}
			continue
		}
		if len(got) != 1 || got[0].Key != KeyInstances || got[0].AtLeast != c.want || got[0].Reason == "" || unsure != c.unsure {
			t.Errorf("%s: got %+v, unsure %v, want %d", c.name, got, unsure, c.want)
		}
	}
	if last.Accounts[0].Instances != 130 {
		t.Error("the last pass's figures have changed")
	}
	// Watches are no leak of instances.
	if got, _ := RaiseBetween(last, charged(7000, 80_000), nil, p); len(got) != 1 || got[0].Key != KeyWatches {
		t.Errorf("got %+v, want more watches", got)
	}
}

// An account is looked at again before it is at the limit, when it is to be
// raised, and not at once: the fullest have levels of their own, and those of
// namespaces none.
func TestLookAgain(t *testing.T) {
	for _, limit := range []Limit{1, 5, 128, 8192, 1<<31 - 1} {
		for used := int64(0); used < int64(limit); used = used*2 + 1 {
			l := NextThresholds([]AccountUsage{{Instances: used, InstancesLimit: limit, WatchesLimit: NoLimit}, {Instances: 1 << 40, InstancesLimit: 1 << 41, Level: 1}}, nil, Limits{}, 70)
			at := l.Fullest[0]
			if l.N != 1 || at.Instances <= used || at.Instances > int64(limit) || at.Watches != math.MaxInt64 {
				t.Errorf("%d of %d: %+v", used, limit, at)
			}
			if limit.Percent(used) < 70 && limit.Percent(at.Instances-1) >= 70 {
				t.Errorf("%d of %d: not before %d, which is more than 70 %%", used, limit, at.Instances)
			}
			if o := l.Others.Instances; o < 1 || o > max(minSurge, int64(limit)/8) {
				t.Errorf("others, %d: at %d", limit, o)
			}
		}
	}
	var many []AccountUsage
	for i := range 20 {
		many = append(many, AccountUsage{Owner: Owner{UID: uint32(i)}, Instances: int64(i) * 5, InstancesLimit: 128, WatchesLimit: 1000})
	}
	peak := func(uid uint32, instances int64) AccountUsage {
		return AccountUsage{Owner: Owner{UID: uid}, Instances: instances, InstancesLimit: NoLimit, WatchesLimit: NoLimit}
	}
	l := NextThresholds(many, []AccountUsage{peak(19, 112), peak(19, 100), peak(50, 30), peak(51, 100)}, Limits{}, 70)
	want := []Threshold{
		{UID: 19, Instances: 112 + 16, Watches: 125},
		{UID: 51, Instances: 100 + 16, Watches: 125}, // has nothing any more
		{UID: 18, Instances: 90 + 16, Watches: 125},
		{UID: 17, Instances: 90, Watches: 125}, // 70 %
	}
	if !slices.Equal(l.Fullest[:4], want) || l.N != 8 {
		t.Errorf("of 20 accounts: %+v, want %+v", l, want)
	}
	if want := (Threshold{Instances: 60 + 16, Watches: 125}); l.Others != want {
		t.Errorf("others: %+v, want %+v", l.Others, want)
	}
	l = NextThresholds(nil, nil, Limits{Instances: 8192, Watches: NoLimit}, 70)
	if want := (Threshold{Instances: 1024, Watches: math.MaxInt64}); l.Others != want || l.N != 0 {
		t.Errorf("without an account: %+v, want %+v", l, want)
	}
}
