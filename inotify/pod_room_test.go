package inotify

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/workload"
)

func TestRoomForPods(t *testing.T) {
	root := Owner{UserNS: InitialUserNS}
	account := func(o Owner, instances, limit, watches, watchLimit int64) Account {
		return Account{
			Owner: o, Instances: instances, InstancesLimit: Limit(limit), InstancesQuality: Exact,
			Watches: watches, WatchesLimit: Limit(watchLimit), WatchesQuality: Exact,
		}
	}
	process := func(comm, pod string, o Owner, instances int64) Process {
		return Process{Comm: comm, Pod: pod, Namespace: "n", UserNS: o.UserNS, UID: o.UID, Instances: instances}
	}
	unnamed := process("app", "", root, 4)
	unnamed.CgroupWorkload = workload.Workload{PodUID: "11111111-2222-3333-4444-555555555555"}
	below := account(Owner{UserNS: 7}, 2, 4, 0, 10)
	below.Level = 1
	unknown := account(root, 0, 128, 0, 1000)
	unknown.InstancesQuality, unknown.WatchesQuality = Unknown, Unknown
	ceilings := map[Resource]Limit{Instances: 1024}
	for _, tt := range []struct {
		name string
		u    Usage
		pods int
		want string // RESOURCE/UID PER-POD: MORE, MORE-BELOW-CEILING
	}{
		{"no pod runs", Usage{Accounts: []Account{account(root, 50, 128, 100, 1000)}}, 0, ""},
		{"pods hold nothing", Usage{Accounts: []Account{account(root, 50, 128, 0, 1000)}, Processes: []Process{process("kubelet", "", root, 50)}}, 10, ""},
		{
			"shims and pods", Usage{
				Accounts:  []Account{account(root, 78, 128, 200, 1000)},
				Processes: []Process{process("kubelet", "", root, 50), process("containerd-shim", "", root, 18), process("app", "a", root, 2), process("conmon", "", root, 8)},
			}, 10, "inotify_instances/0 2.8: 17, 337; inotify_watches/0 20: 40, none",
		},
		{
			"a container that calls itself a shim counts as its pod, once",
			Usage{Accounts: []Account{account(root, 10, 20, 0, 0)}, Processes: []Process{process("containerd-shim", "a", root, 10)}},
			1,
			"inotify_instances/0 10: 1, 101",
		},
		{"a pod without a name", Usage{Accounts: []Account{account(root, 4, 20, 0, 0)}, Processes: []Process{unnamed}}, 1, "inotify_instances/0 4: 4, 255"},
		{
			"shared instances are charged once",
			Usage{Accounts: []Account{account(root, 4, 20, 0, 0)}, Processes: []Process{process("a", "a", root, 4), process("b", "a", root, 4)}},
			1,
			"inotify_instances/0 4: 4, 255",
		},
		{"the limit is reached", Usage{Accounts: []Account{account(root, 20, 20, 0, 0)}, Processes: []Process{process("a", "a", root, 4)}}, 1, "inotify_instances/0 4: 0, 251"},
		{"above the limit", Usage{Accounts: []Account{account(root, 30, 20, 0, 0)}, Processes: []Process{process("a", "a", root, 4)}}, 1, "inotify_instances/0 4: 0, 248"},
		{"a limit above its ceiling", Usage{Accounts: []Account{account(root, 1000, 2000, 0, 0)}, Processes: []Process{process("a", "a", root, 100)}}, 1, "inotify_instances/0 100: 10, 10"},
		{
			"each user has its own",
			Usage{
				Accounts:  []Account{account(root, 60, 128, 0, 0), account(Owner{InitialUserNS, 1000}, 10, 128, 0, 0)},
				Processes: []Process{process("a", "a", root, 1), process("b", "b", Owner{InitialUserNS, 1000}, 10)},
			},
			2, "inotify_instances/1000 5: 23, 202; inotify_instances/0 0.5: 136, 1928",
		},
		{"another user namespace has limits of its own", Usage{Accounts: []Account{below}, Processes: []Process{process("a", "a", below.Owner, 2)}}, 1, ""},
		{"unknown use", Usage{Accounts: []Account{unknown}, Processes: []Process{process("a", "a", root, 2)}}, 1, ""},
		{"no limit is known", Usage{Accounts: []Account{account(root, 4, -1, 0, -1)}, Processes: []Process{process("a", "a", root, 4)}}, 1, ""},
		{"open files", Usage{Limits: Limits{OpenFiles: 1000, FileMax: 10_000}}, 10, "open_files 100: 90, none"},
		{"open files of systemd's limit", Usage{Limits: Limits{OpenFiles: 1000, FileMax: math.MaxInt64}}, 10, "open_files 100: 2147483647, none"},
	} {
		var got []string
		for _, r := range RoomForPods(tt.u, tt.pods, ceilings) {
			s := string(r.Resource)
			if r.Owner != nil {
				s += fmt.Sprint("/", r.Owner.UID)
			}
			below := "none"
			if r.MoreBelowCeiling != nil {
				below = fmt.Sprint(*r.MoreBelowCeiling)
			}
			got = append(got, fmt.Sprintf("%s %.3g: %d, %s", s, r.PerPod, r.More, below))
			if r.AtLeast == (r.Resource == Instances) {
				t.Errorf("%s: %s is at least %v", tt.name, s, r.AtLeast)
			}
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, s, tt.want)
		}
	}
}

// What is said to fit fits, and one more does not.
func FuzzRoomForPods(f *testing.F) {
	f.Add(int64(10), int64(128), int64(2), 3)
	f.Add(int64(0), int64(0), int64(1), 1)
	f.Add(int64(127), int64(128), int64(127), 1)
	f.Fuzz(func(t *testing.T, used, limit, held int64, pods int) {
		if used < 0 || used > 1<<30 || limit < 0 || limit > 1<<30 || held < 0 || held > used || pods < 1 || pods > 1000 {
			return
		}
		u := Usage{
			Accounts:  []Account{{Owner: Owner{UserNS: InitialUserNS}, Instances: used, InstancesLimit: Limit(limit), InstancesQuality: Exact, WatchesQuality: Unknown}},
			Processes: []Process{{UserNS: InitialUserNS, Pod: "p", Instances: held}},
		}
		for _, r := range RoomForPods(u, pods, nil) {
			if r.More < 0 {
				t.Fatalf("%d more pods", r.More)
			}
			if after := float64(used) + float64(r.More)*r.PerPod; r.More > 0 && after > float64(limit)+0.001 {
				t.Errorf("%d pods of %v on %d exceed %d", r.More, r.PerPod, used, limit)
			}
			if after := float64(used) + float64(r.More+1)*r.PerPod; after < float64(limit)-0.001 {
				t.Errorf("another pod after %d of %v on %d fits below %d", r.More, r.PerPod, used, limit)
			}
		}
	})
}

func TestPodsSeen(t *testing.T) {
	u := Usage{Processes: []Process{
		{Pod: "a", Namespace: "n"},
		{Pod: "a", Namespace: "n", Container: "other"},
		{Pod: "a", Namespace: "m"},
		{CgroupWorkload: workload.Workload{PodUID: "u"}},
		{CgroupWorkload: workload.Workload{PodUID: "u"}, Pod: "b", Namespace: "n"},
		{Unit: "kubelet.service"},
	}}
	if got := u.PodsSeen(); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}
