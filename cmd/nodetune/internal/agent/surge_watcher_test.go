package agent

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodetune/nodetune/inotify"
)

type fixedSource struct{ accounts []inotify.AccountUsage }

func (l *fixedSource) Accounts() ([]inotify.AccountUsage, error) { return l.accounts, nil }

// A pass is asked for once in a while for each limit that is met.
func TestSurgeWatcherRequestsPasses(t *testing.T) {
	asked := 0
	table := &fixedSource{}
	l := &surgeWatcher{policy: inotify.DefaultPolicy, requestPass: func() { asked++ }}
	l.poll(time.Now()) // without a ledger
	l.setSource(table)
	began := time.Now()
	for _, c := range []struct {
		after              time.Duration
		instances, watches int64
		limit              inotify.Limit
		level              int
		want               int
	}{
		{0, 89, 0, 128, 0, 0},
		{1, 90, 0, 128, 0, 1}, // 70 %
		{2, 120, 0, 128, 0, 1},
		{3, 20, 0, 128, 0, 1},
		{4, 128, 0, 128, 0, 1}, // taken and given back
		{5, 120, 0, 256, 0, 1}, // raised
		{6, 190, 0, 256, 0, 2},
		{7, 190, 750, 256, 0, 3}, // watches too
		{8, 190, 750, 256, 0, 3},
		{9, 5, 0, 5, 1, 3}, // a limit of a user namespace
		{6*time.Second + busyInterval, 190, 0, 256, 0, 4},
	} {
		table.accounts = []inotify.AccountUsage{{Instances: c.instances, InstancesLimit: c.limit, Watches: c.watches, WatchesLimit: 1000, Level: c.level}}
		if l.poll(began.Add(c.after)); asked != c.want {
			t.Errorf("%d of %d instances, %d watches: asked %d times, want %d", c.instances, c.limit, c.watches, asked, c.want)
		}
	}
}

// A surge is raised for at once, also one that pauses while it is looked at, and
// where that may feed a leak a pass is asked for instead.
func TestSurgeWatcherRaises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := &fixedSource{}
		var asked, raised int
		policy := inotify.DefaultPolicy()
		const limit = 8192
		in := limit
		l := &surgeWatcher{
			policy:      func() inotify.Policy { return policy },
			lastUsage:   func() inotify.Usage { return inotify.Usage{Accounts: []inotify.Account{{Instances: 130}}} },
			requestPass: func() { asked++ },
			raise: func(_ context.Context, floors []inotify.Floor, _ func() time.Duration) bool {
				if in >= int(floors[0].AtLeast) {
					return false
				}
				in = int(floors[0].AtLeast)
				raised++
				return true
			},
		}
		now := func(instances int64) []inotify.AccountUsage {
			return []inotify.AccountUsage{{Instances: instances, InstancesLimit: limit, WatchesLimit: inotify.NoLimit}}
		}
		ago := func(d time.Duration) func() time.Duration { return func() time.Duration { return d } }
		l.onNotify(t.Context(), now(2000)[0], ago(time.Millisecond)) // without a ledger
		for _, c := range []struct {
			name           string
			thens          []int64 // 10 ms apart
			is             int64
			raised, passes int
		}{
			{"no surge", []int64{1000}, 1001, 0, 0},
			{"700 within a millisecond", []int64{2000}, 2700, 1, 0},
			{"pauses", []int64{1200, 2400}, 2400, 1, 0},
			{"taken and given back", []int64{1200, 2400}, 130, 0, 0},
			{"more than leakInstances since the last pass", []int64{3000}, 5000, 0, 1},
		} {
			asked, raised, in = 0, 0, limit
			l.setSource(table)
			table.accounts = now(130)
			l.poll(time.Now().Add(-time.Second))
			for i, then := range c.thens {
				table.accounts = now(then)
				if i == len(c.thens)-1 {
					table.accounts = now(c.is)
				}
				l.onNotify(t.Context(), now(then)[0], ago(time.Duration(10*(len(c.thens)-1-i)+1)*time.Millisecond))
			}
			if raised != c.raised || asked != c.passes {
				t.Errorf("%s: raised %d times, asked for %d passes", c.name, raised, asked)
			}
		}
	})
}
