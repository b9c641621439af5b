package text

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

func TestPodRoomText(t *testing.T) {
	roomy := reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{At: time.Now(), Value: reportertest.Roomy()}}
	ceiling := roomy
	ceiling.Sysctl.Value.Rules = []sysctl.Status{{Rule: sysctl.Rule{Key: sysctl.MaxUserInstances, Op: sysctl.AtLeast, Want: 128, Ceiling: 1000}}}
	withLogs := roomy
	for _, uid := range []string{"a", "b", "b", "c"} {
		withLogs.Disk.Value.Producers = append(withLogs.Disk.Value.Producers, logs.Producer{Kind: logs.KindContainer, Workload: workload.Workload{PodUID: uid}})
	}
	withLogs.Disk.Value.Producers = append(withLogs.Disk.Value.Producers, logs.Producer{Kind: logs.KindFile, Path: "/var/log/syslog"})
	crowded := ceiling
	crowded.Inotify.Value = reportertest.Roomy()
	crowded.Inotify.Value.Accounts[0].WatchesLimit = 1 << 30
	crowded.Inotify.Value.Limits.FileMax = 1 << 40
	noRoom := crowded
	noRoom.Inotify.Value.Accounts = []inotify.Account{crowded.Inotify.Value.Accounts[0]}
	noRoom.Inotify.Value.Accounts[0].Instances = 128
	failed := roomy
	failed.Inotify.Err = errors.New("failed")
	for _, tt := range []struct {
		name string
		s    reporter.Snapshot
		p    inotify.Policy
		want string
	}{
		{"no pass", reporter.Snapshot{}, inotify.Policy{}, ""},
		{"a failed pass", failed, inotify.Policy{}, ""},
		{"no pods", reporter.Snapshot{Inotify: reporter.Result[inotify.Usage]{At: time.Now(), Value: reportertest.Accounts(10, 10, nil)}}, inotify.Policy{}, ""},
		{"one pod", roomy, inotify.Policy{}, "1 seen; at least 19 more like it fit before fs.inotify.max_user_watches (8192) of uid 0"},
		{"a ceiling", crowded, inotify.Policy{}, "1 seen; about 34 more like it fit before fs.inotify.max_user_instances (128) of uid 0, and 470 before its ceiling (1000)"},
		{"a lower ceiling of the policy", crowded, inotify.Policy{MaxInstances: 512}, "1 seen; about 34 more like it fit before fs.inotify.max_user_instances (128) of uid 0, and 226 before its ceiling (512)"},
		{"a higher ceiling of the policy", crowded, inotify.Policy{MaxInstances: 65536}, "1 seen; about 34 more like it fit before fs.inotify.max_user_instances (128) of uid 0, and 470 before its ceiling (1000)"},
		{"no room", noRoom, inotify.Policy{}, "1 seen; no more like it fits before fs.inotify.max_user_instances (128) of uid 0, and 436 before its ceiling (1000)"},
		{"another limit has the ceiling", ceiling, inotify.Policy{}, "1 seen; at least 19 more like it fit before fs.inotify.max_user_watches (8192) of uid 0"},
		{"pods of logs", withLogs, inotify.Policy{}, "4 seen; at least 76 more like them fit before fs.file-max (100000)"},
	} {
		got := PodRoomText(tt.s.PodRoom(tt.p))
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		var b strings.Builder
		if err := CheckReport(&b, tt.s, CheckOptions{Policy: tt.p}); err != nil {
			t.Fatal(err)
		}
		if has := strings.Contains(b.String(), "\npods: "+got+"\n"); has != (got != "") {
			t.Errorf("%s: check prints\n%s", tt.name, b.String())
		}
	}
}
