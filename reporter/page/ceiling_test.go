package page

import (
	"testing"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// The ceiling of a limit is where the agent stops raising it: for instances also
// inotify.maxInstances, and for watches what they may pin of the memory.
func TestCeiling(t *testing.T) {
	for _, tt := range []struct {
		key               string
		rule              sysctl.Value
		maxInstances, out int64
	}{
		{inotify.KeyInstances, 131072, 65536, 65536},
		{inotify.KeyInstances, 1024, 65536, 1024},
		{inotify.KeyInstances, 131072, 0, 131072},
		{inotify.KeyInstances, sysctl.Unknown, 65536, -1},
		{inotify.KeyWatches, 100000, 65536, 100000},
		{inotify.KeyWatches, 1 << 40, 65536, inotify.DefaultPolicy().MaxWatches(1 << 30)},
	} {
		in := Input{Policy: inotify.Policy{MaxInstances: tt.maxInstances, WatchMemoryPercent: inotify.DefaultPolicy().WatchMemoryPercent}}
		in.Snapshot.Inotify.Value.Limits.MemoryBytes = 1 << 30
		in.Snapshot.Sysctl = reporter.Result[sysctl.PassResult]{At: time.Unix(1, 0), Value: sysctl.PassResult{Rules: []sysctl.Status{
			{Rule: sysctl.Rule{Key: sysctl.Key(tt.key), Op: sysctl.AtLeast, Want: 1, Ceiling: tt.rule}},
		}}}
		if got := in.ceiling(tt.key); got != inotify.Limit(tt.out) {
			t.Errorf("%s with %d and %d: %d, want %d", tt.key, tt.rule, tt.maxInstances, got, tt.out)
		}
	}
}
