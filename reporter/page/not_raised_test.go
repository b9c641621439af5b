package page

import (
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// The page does not promise a raise that does not come.
func TestNotRaised(t *testing.T) {
	at := time.Unix(1, 0)
	for _, tt := range []struct {
		name           string
		limit          int64
		ceiling        sysctl.Value
		held           int64 // by one process
		paused         string
		maxInstances   int64
		want, unwanted string
	}{
		{"below the ceiling", 128, 131072, 100, "", 65536, "with the next pass", ""},
		{"at the ceiling of the rule", 128, 128, 100, "", 65536, "at its ceiling of 128", "next pass"},
		{"beyond it", 256, 128, 100, "", 65536, "at its ceiling of 128", "next pass"},
		{"at maxInstances", 128, 131072, 100, "", 128, "maxInstances is 128", "next pass"},
		{"a leak", 8192, 131072, 8000, "", 65536, "leak", "next pass"},
		{"paused", 128, 131072, 100, "/run/nodetune/pause", 65536, "paused by /run/nodetune/pause", "next pass"},
		{"without a rule", 128, sysctl.Unknown, 100, "", 65536, "with the next pass", ""},
	} {
		policy := inotify.DefaultPolicy()
		policy.MaxInstances = tt.maxInstances
		owner := inotify.Owner{UserNS: inotify.InitialUserNS, UID: 5}
		used := max(tt.limit-5, tt.held)
		in := Input{Policy: policy, Snapshot: reporter.Snapshot{
			Sysctl: reporter.Result[sysctl.PassResult]{At: at, Value: sysctl.PassResult{Paused: tt.paused, Rules: []sysctl.Status{
				{Rule: sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 128, Ceiling: tt.ceiling}, Value: sysctl.Value(tt.limit)},
			}}},
			Inotify: reporter.Result[inotify.Usage]{At: at, Value: inotify.Usage{
				Limits:           inotify.Limits{Instances: inotify.Limit(tt.limit), Watches: 65536, FileMax: 1 << 20, MemoryBytes: 16 << 30},
				InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact,
				Accounts:  []inotify.Account{{Owner: owner, Instances: used, InstancesLimit: inotify.Limit(tt.limit), WatchesLimit: 65536, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact, TopPID: 7}},
				Processes: []inotify.Process{{PID: 7, UID: 5, UserNS: owner.UserNS, Comm: "leaker", Instances: tt.held, Quality: inotify.Exact, WatchesQuality: inotify.Exact}},
			}},
		}}
		got := notRaised(in, inotify.LimitPressure{Resource: inotify.Instances, Owner: &owner, Used: used, Limit: inotify.Limit(tt.limit)})
		if !strings.Contains(got, tt.want) || tt.unwanted != "" && strings.Contains(got, tt.unwanted) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
