package condition

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/workload"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/internal/reportertest"
	"github.com/nodetune/nodetune/sysctl"
)

const (
	attackerPod = "11111111-2222-3333-4444-555555555555"
	victimPod   = "99999999-8888-7777-6666-555555555555"
)

// attackerCgroup is the cgroup that the kubelet gave the attacker's container.
var attackerCgroup = "/kubepods/burstable/pod" + attackerPod + "/" + strings.Repeat("a", 64)

// tenantNode is a node with the container of an attacker (pid 7) that holds most
// of the node's instances, watches and files and reads a log.
func tenantNode(instances, openFiles int64) reporter.Snapshot {
	u := reportertest.Accounts(instances, 10, &inotify.Process{
		PID: 7, Start: 5, Comm: "app", Cgroup: attackerCgroup, Instances: instances, FDs: openFiles / 2, NOFILESoft: 1 << 20,
		QueuedEvents: 3, QueuedEventsLimit: 16384,
	})
	u.Limits.OpenFiles = openFiles
	at := reportertest.Noon.Add(-time.Second)
	return reporter.Snapshot{
		Sysctl:  reporter.Result[sysctl.PassResult]{At: at, Value: sysctl.PassResult{Rules: reportertest.Drifted}},
		Inotify: reporter.Result[inotify.Usage]{At: at, Value: u},
		Disk: reporter.Result[disk.Usage]{At: at, Value: disk.Usage{
			Filesystems: []filesystem.Filesystem{{Path: "/", State: filesystem.StateOK, SizeBytes: 100, AvailBytes: 50}},
			Readers:     []logs.Reader{{PID: 7, Start: 5, Comm: "app", Path: "/var/log/pods/x/app/0.log"}},
			Pressure:    disk.Assessment{Severity: disk.Clear, Reason: disk.ReasonSpace, Message: "m"},
			Reading:     disk.Assessment{Severity: disk.Clear, Reason: disk.ReasonReading, Message: "m"},
		}},
	}
}

// evaluated names the processes by their cgroup, as a pass does, and returns the
// conditions.
func evaluated(s reporter.Snapshot) []Evaluation {
	names := map[string]string{attackerPod: "attacker", victimPod: "coredns"}
	for i := range s.Inotify.Value.Processes {
		p := &s.Inotify.Value.Processes[i]
		w := workload.FromCgroupPath(p.Cgroup)
		p.Namespace, p.Pod, p.Unit = "ns", names[w.PodUID], w.Unit
	}
	return Evaluate(s, reportertest.Noon, time.Minute, inotify.DefaultPolicy())
}

// TestTenantInput: nothing that a container chooses changes a condition of the
// node: not its status, not its reason and not its message.
func TestTenantInput(t *testing.T) {
	attacker := func(s *reporter.Snapshot) *inotify.Process { return &s.Inotify.Value.Processes[0] }
	account := func(s *reporter.Snapshot, a inotify.Account) {
		a.Owner, a.Level = inotify.Owner{UserNS: 4026539999, UID: 100000}, max(1, a.Level)
		s.Inotify.Value.Accounts = append(s.Inotify.Value.Accounts, a)
	}
	inputs := []struct {
		name   string
		change func(*reporter.Snapshot)
	}{
		{"comm of another program", func(s *reporter.Snapshot) { attacker(s).Comm = "kubelet" }},
		{"comm that names another pod", func(s *reporter.Snapshot) { attacker(s).Comm = "ns/coredns:c" }},
		{"comm with a line break", func(s *reporter.Snapshot) { attacker(s).Comm = "a\nReady: False" }},
		{"comm that is no UTF-8", func(s *reporter.Snapshot) { attacker(s).Comm = "\xff\xfe\u202e" }},
		{"no comm", func(s *reporter.Snapshot) { attacker(s).Comm = "" }},
		{"cgroup below the pod, named like another pod", func(s *reporter.Snapshot) { attacker(s).Cgroup += "/kubepods/burstable/pod" + victimPod }},
		{"cgroup below the pod, of the systemd driver", func(s *reporter.Snapshot) {
			attacker(s).Cgroup += "/kubepods.slice/kubepods-pod" + strings.ReplaceAll(victimPod, "-", "_") + ".slice"
		}},
		{"cgroup below the pod, named like a unit", func(s *reporter.Snapshot) { attacker(s).Cgroup += "/system.slice/kubelet.service" }},
		{"cgroup below the pod, named like a container", func(s *reporter.Snapshot) { attacker(s).Cgroup += "/" + strings.Repeat("b", 64) }},
		{"cgroup seen from a cgroup namespace", func(s *reporter.Snapshot) {
			attacker(s).Cgroup = "/../.." + attackerCgroup + "/kubepods/pod" + victimPod
		}},
		{"instances limit of its own user namespace, reached", func(s *reporter.Snapshot) {
			account(s, inotify.Account{Instances: 1, InstancesLimit: 1, WatchesLimit: 1, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact, TopPID: 7})
		}},
		{"watches limit of its own user namespace, reached", func(s *reporter.Snapshot) {
			account(s, inotify.Account{Watches: 9, InstancesLimit: 1, WatchesLimit: 9, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact, TopWatchesPID: 7})
		}},
		{"limits of 0 of a nested user namespace", func(s *reporter.Snapshot) {
			account(s, inotify.Account{Level: 5, InstancesQuality: inotify.Exact, WatchesQuality: inotify.Exact})
		}},
		{"limits of its own user namespace that cannot be read", func(s *reporter.Snapshot) {
			account(s, inotify.Account{InstancesLimit: inotify.NoLimit, WatchesLimit: inotify.NoLimit, InstancesQuality: inotify.Unknown, WatchesQuality: inotify.Unknown})
		}},
		{"RLIMIT_NOFILE, reached", func(s *reporter.Snapshot) {
			attacker(s).NOFILESoft, attacker(s).NOFILEHard = inotify.Limit(attacker(s).FDs), 4
		}},
		{"RLIMIT_NOFILE of 0", func(s *reporter.Snapshot) { attacker(s).NOFILESoft, attacker(s).NOFILEHard = 0, 0 }},
		{"name of a file that it reads", func(s *reporter.Snapshot) { s.Disk.Value.Readers[0].Path = "/var/log/pods/kube-system_coredns/0.log" }},
		{"comm of a reader", func(s *reporter.Snapshot) { s.Disk.Value.Readers[0].Comm = "fluent-bit" }},
		{"name of a file that it writes", func(s *reporter.Snapshot) {
			s.Disk.Value.Producers = []logs.Producer{{Path: "/var/log/kubelet.service\n", Bytes: 1 << 40}}
		}},
		{"name of a file that it deleted", func(s *reporter.Snapshot) {
			s.Disk.Value.Deleted = []logs.Deleted{{Path: "/var/log/syslog", Bytes: 1 << 40}}
		}},
		{"calls that its own limits refuse", func(s *reporter.Snapshot) {
			s.Inotify.Value.Refusals = []inotify.SyscallFailure{{Comm: "kubelet", Resource: inotify.Instances, Level: 1, Owner: &inotify.Owner{UserNS: 5}, Limit: 1, Used: 1, Count: 9}}
		}},
	}
	for _, node := range []struct {
		name                 string
		instances, openFiles int64
	}{{"roomy", 10, 100}, {"between", 98, 750}, {"full", 128, 990}} {
		want := evaluated(tenantNode(node.instances, node.openFiles))
		for _, in := range inputs {
			t.Run(fmt.Sprintf("%s, %s", node.name, in.name), func(t *testing.T) {
				s := tenantNode(node.instances, node.openFiles)
				in.change(&s)
				if got := evaluated(s); !slices.Equal(got, want) {
					t.Errorf("got\n%+v\nwant\n%+v", got, want)
				}
			})
		}
	}
	full := evaluated(tenantNode(128, 990))
	if m := full[1].Message; !strings.HasSuffix(m, "; most are held by ns/attacker") {
		t.Errorf("%q does not name the pod that holds most", m)
	}
}

// TestTenantEvents: a collector that leaves its events unread is named by its
// workload alone.
func TestTenantEvents(t *testing.T) {
	for _, comm := range []string{"fluent-bit", "kubelet", "ns/coredns", "\n"} {
		s := tenantNode(10, 100)
		s.Inotify.Value.Processes[0].Comm, s.Inotify.Value.Processes[0].EventsUnreadSeconds = comm, 3600
		v := evaluated(s)[2]
		if v.Severity != Bad || v.Message != "ns/attacker has read no inotify event for 1h0m0s: 3 of 16384 wait" {
			t.Errorf("comm %q: %+v", comm, v)
		}
	}
}
