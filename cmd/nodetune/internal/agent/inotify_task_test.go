package agent

import (
	"testing"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/config"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/sysctl"
)

func TestUsageCadence(t *testing.T) {
	for _, test := range []struct {
		name string
		task *inotifyTask
		want time.Duration
	}{
		{"far from every limit", &inotifyTask{cost: 80 * time.Millisecond}, idleInterval},
		{"near one", &inotifyTask{cost: 80 * time.Millisecond, near: true}, busyInterval},
		{"read from the kernel", &inotifyTask{cost: 4 * time.Millisecond, walked: true}, busyInterval},
		{"near one on a large node", &inotifyTask{cost: 500 * time.Millisecond, near: true}, 100 * time.Second},
		{"on a very large node", &inotifyTask{cost: 10 * time.Second, near: true}, maxInterval},
	} {
		if got := test.task.interval(); got != test.want {
			t.Errorf("%s: every %v, want %v", test.name, got, test.want)
		}
	}
}

func TestNearLimit(t *testing.T) {
	far := inotify.Usage{
		Limits:   inotify.Limits{OpenFiles: 499, FileMax: 1000},
		Accounts: []inotify.Account{{Instances: 63, InstancesLimit: 128, Watches: 49, WatchesLimit: 100}},
	}
	if nearLimit(far) {
		t.Error("less than half of each limit is near")
	}
	for name, change := range map[string]func(*inotify.Usage){
		"open files": func(u *inotify.Usage) { u.Limits.OpenFiles = 500 },
		"instances":  func(u *inotify.Usage) { u.Accounts = []inotify.Account{{Instances: 64, InstancesLimit: 128}} },
		"watches":    func(u *inotify.Usage) { u.Accounts = []inotify.Account{{Watches: 50, WatchesLimit: 100}} },
	} {
		u := far
		change(&u)
		if !nearLimit(u) {
			t.Errorf("half of the %s is not near", name)
		}
	}
	if nearLimit(inotify.Usage{Limits: inotify.Limits{OpenFiles: 10, FileMax: inotify.NoLimit}}) {
		t.Error("without a limit something is near")
	}
}

func TestNeedsStayAskedFor(t *testing.T) {
	var n floorRequests
	for _, step := range []struct {
		need sysctl.Need
		more bool
	}{
		{sysctl.Need{Key: "fs.a", AtLeast: 8}, true},
		{sysctl.Need{Key: "fs.a", AtLeast: 8}, false},
		{sysctl.Need{Key: "fs.a", AtLeast: 4}, false},
		{sysctl.Need{Key: "fs.b", AtLeast: 1}, true},
		{sysctl.Need{Key: "fs.a", AtLeast: 16}, true},
	} {
		if more := n.request(step.need); more != step.more {
			t.Errorf("%+v is more: %v", step.need, more)
		}
	}
	asked := n.requested()
	if len(asked) != 2 || asked[0].AtLeast != 16 || asked[1].AtLeast != 1 {
		t.Errorf("asked for %+v", asked)
	}
}

// The longest pause leaves a pass a minute before its conditions go stale.
func TestSeldomIsNotStale(t *testing.T) {
	stale := config.Default().Reporter.Conditions.StaleAfter.D()
	if longest := maxInterval + maxInterval/10 + time.Minute; longest >= stale {
		t.Errorf("a pass may end %v after the one before, and conditions are stale after %v", longest, stale)
	}
}
