package bpf

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

func loadedWalk(t testing.TB) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := load(loadWalk)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// walks opens a walk with each way to iterate over the tasks, and one as on a kernel
// before Linux 5.17.
func walks(t *testing.T) map[string]*Walk {
	tasks, err := OpenWalk("/proc", NewTypes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tasks.Close() })
	iterator, err := openIterator()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { iterator.Close() })
	spec, err := loadFor(false, loadWalk)
	if err != nil {
		t.Fatal(err)
	}
	self, err := ownAccount("/proc")
	if err != nil {
		t.Fatal(err)
	}
	old, err := openWalk(spec, self, "/proc", NewTypes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { old.Close() })
	return map[string]*Walk{"tasks": tasks, "iterator": iterator, "without bpf_loop": old}
}

func holders(t *testing.T, w *Walk) (inotify.DescriptorTableScan, map[int]inotify.FDHolder) {
	t.Helper()
	held, err := w.Holders()
	if err != nil {
		t.Fatal(err)
	}
	by := make(map[int]inotify.FDHolder, len(held.Holders))
	for _, h := range held.Holders {
		by[h.PID] = h
	}
	return held, by
}

// TestWalk: a walk finds every instance that is not in flight once, with its holders,
// and charges users as the kernel's own table does, while another user creates and
// closes 10,000 instances a second.
func TestWalk(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	table, all := openTable(t), walks(t)
	specs := append(slices.Clone(allKinds), inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: 70311, Instances: 1, Watches: 5000})
	started := inotifytest.New(t, 5000).Start(specs...)
	churned := churn(t)
	for churned.Load() < 10_000 {
		for name, w := range all {
			accounts, err := table.Accounts()
			if err != nil {
				t.Fatal(err)
			}
			held, by := holders(t, w)
			charged := map[inotify.Owner]inotify.AccountUsage{}
			for _, in := range held.Instances {
				for _, o := range append([]inotify.Owner{in.Creator}, held.Above[in.Creator.UserNS]...) {
					c := charged[o]
					c.Instances++
					c.Watches += in.Watches
					charged[o] = c
				}
			}
			for _, a := range accounts {
				if a.UID < 70301 || a.UID > 70311 {
					continue
				}
				got, want := charged[a.Owner], a
				if a.UID == 70308 { // sent through a socket and not received
					want.Instances, want.Watches = 0, 0
				}
				if got.Instances != want.Instances || got.Watches != want.Watches {
					t.Fatalf("%s: uid %d in namespace %d: found %d instances and %d watches, charged are %d and %d",
						name, a.UID, a.UserNS, got.Instances, got.Watches, want.Instances, want.Watches)
				}
			}
			for i, s := range specs {
				for _, process := range started[i] {
					instances, watches := 0, int64(0)
					for _, in := range by[process.PID].Instances {
						instances++
						watches += held.Instances[in].Watches
					}
					want := s.Instances
					if s.Kind == inotifytest.Flight {
						want = 0
					}
					if instances != want || watches != int64(want*s.Watches) {
						t.Fatalf("%s: %s: process %d has %d instances and %d watches, want %d and %d", name, s.Kind, process.PID, instances, watches, want, want*s.Watches)
					}
				}
			}
		}
	}
}

// TestHolder: the details of a process are those of /proc.
func TestHolder(t *testing.T) {
	privtest.Host(t)
	started := inotifytest.New(t, 1).Start(
		inotifytest.Spec{Kind: inotifytest.FDs, Processes: 1, UID: 70320, Instances: 9000},
		inotifytest.Spec{Kind: inotifytest.UserNS, Processes: 1, UID: 70321, Instances: 1, Other: 70322},
	)
	for name, w := range walks(t) {
		_, by := holders(t, w)
		for i, uid := range []uint32{70320, 70322} {
			pid := started[i][0].PID
			h := by[pid]
			dir := "/proc/" + strconv.Itoa(pid)
			fds, err := os.ReadDir(dir + "/fd")
			if err != nil {
				t.Fatal(err)
			}
			var ns unix.Stat_t
			if err := unix.Stat(dir+"/ns/user", &ns); err != nil {
				t.Fatal(err)
			}
			stat, err := os.ReadFile(dir + "/stat")
			if err != nil {
				t.Fatal(err)
			}
			cgroup, err := os.ReadFile(dir + "/cgroup")
			if err != nil {
				t.Fatal(err)
			}
			start := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))[20]
			if h.FDs != int64(len(fds)) || h.UID != uid || h.UserNS != ns.Ino || h.Comm != "holder" ||
				strconv.FormatUint(h.Start, 10) != start || h.Cgroup == "" || !strings.Contains(string(cgroup), ":"+h.Cgroup+"\n") {
				t.Errorf("%s: got %+v, want %d descriptors, uid %d, namespace %d, start %s, a cgroup of\n%s", name, h, len(fds), uid, ns.Ino, start, cgroup)
			}
			limits, err := os.ReadFile(dir + "/limits")
			if err != nil {
				t.Fatal(err)
			}
			_, nofile, _ := strings.Cut(string(limits), "Max open files")
			if f := strings.Fields(nofile); strconv.FormatInt(int64(h.NOFILESoft), 10) != f[0] || strconv.FormatInt(int64(h.NOFILEHard), 10) != f[1] {
				t.Errorf("%s: got limits %d and %d, want %s and %s", name, h.NOFILESoft, h.NOFILEHard, f[0], f[1])
			}
		}
	}
}

// TestParts: a walk in several parts finds what one part has no room for.
func TestParts(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "8192")
	started := inotifytest.New(t, 1).Start(
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: 70330, Instances: 6000},
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 30, UID: 70331, Instances: 100},
	)
	for name, w := range walks(t) {
		held, by := holders(t, w)
		found := 0
		for _, in := range held.Instances {
			if in.Creator.UID == 70330 || in.Creator.UID == 70331 {
				found++
			}
		}
		if found != 9000 || w.plan == 0 {
			t.Errorf("%s: got %d instances with plan %+v", name, found, plans[w.plan])
		}
		if h := by[started[0][0].PID]; len(h.Instances) != 6000 || h.FDs < 6000 || h.FDs > 6010 {
			t.Errorf("%s: %d instances and %d descriptors, want 6,000 and the standard ones", name, len(h.Instances), h.FDs)
		}
	}
}

// TestQueue: unread events are counted, beyond the limit as well.
func TestQueue(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_queued_events", "20")
	all := walks(t) // the self-test's queue overflows as well
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	dir := t.TempDir()
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE); err != nil {
		t.Fatal(err)
	}
	for made := range 25 {
		want := int64(min(made, 21)) // the last one is IN_Q_OVERFLOW
		for name, w := range all {
			held, by := holders(t, w)
			found := false
			for _, i := range by[os.Getpid()].Instances {
				in := held.Instances[i]
				found = found || in.QueuedEvents == want && in.QueuedEventsLimit == 20 && in.Watches == 1
			}
			if !found {
				t.Fatalf("%s: no instance with %d events", name, want)
			}
		}
		if err := os.WriteFile(dir+"/"+strconv.Itoa(made), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWrongWalk: a walk that does not find what it should is an error.
func TestWrongWalk(t *testing.T) {
	privtest.Root(t)
	self, err := ownAccount("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		self       inotify.Owner
		magic      uint64
	}{
		{"no instance", "found 0 of 2", self, 1},
		{"account", "as charged to uid 0", inotify.Owner{UserNS: self.UserNS, UID: 70399}, 0},
	} {
		spec := loadedWalk(t)
		if c.magic != 0 {
			if err := spec.Variables[walkVarAnonInodeFsMagic].Set(c.magic); err != nil {
				t.Fatal(err)
			}
		}
		w, err := openWalk(spec, c.self, "/proc", NewTypes())
		if err == nil {
			w.Close()
			t.Errorf("%s: no error", c.name)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestDuplicates: one process without privileges cannot fill a walk. It duplicates
// one descriptor 19,900 times, and another process has a table of 9 million
// descriptors. A walk finds all other holders, and reports no gap.
func TestDuplicates(t *testing.T) {
	privtest.Host(t)
	high := 9_000_000
	privtest.Set(t, "fs.nr_open", "10000000")
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(high) + 1, Max: max(was.Max, uint64(high)+1)})
	if errors.Is(err, unix.EPERM) { // no CAP_SYS_RESOURCE, which the emulated machine has
		high = int(was.Max) - 1
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: was.Max, Max: was.Max})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the highest descriptor is %d", high)
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }()
	started := inotifytest.New(t, 1).Start(
		inotifytest.Spec{Kind: inotifytest.Dup, Processes: 1, UID: 70340, Instances: 1, Copies: 19_900},
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 100, UID: 70341, Instances: 1},
	)
	if err := unix.Dup3(0, high, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for name, w := range walks(t) {
		held, by := holders(t, w)
		if len(held.Gaps) > 0 {
			t.Errorf("%s: got gaps %+v", name, held.Gaps)
		}
		if h := by[started[0][0].PID]; len(h.Instances) != 1 || h.FDs < 19_900 {
			t.Errorf("%s: got %d instances and %d descriptors of the duplicating process", name, len(h.Instances), h.FDs)
		}
		for _, p := range started[1] {
			if h := by[p.PID]; len(h.Instances) != 1 {
				t.Fatalf("%s: process %d has %d instances, want 1", name, p.PID, len(h.Instances))
			}
		}
		if h := by[os.Getpid()]; len(h.Instances) == 0 {
			t.Errorf("%s: a process with descriptor %d has no instances", name, high)
		}
	}
}

// TestLastPlan: where no plan has room, each process is found with some of its
// instances, nodetune itself with all, and the rest is counted.
func TestLastPlan(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	started := inotifytest.New(t, 1).Start(
		inotifytest.Spec{Kind: inotifytest.Plain, Processes: 5, UID: 70350, Instances: 20},
		inotifytest.Spec{Kind: inotifytest.FDs, Processes: 1, UID: 70351, Instances: 9000},
	)
	for name, w := range walks(t) {
		w.plan, w.relax = len(plans)-1, relaxAfter
		held, by := holders(t, w)
		for _, p := range started[0] {
			if h := by[p.PID]; len(h.Instances) != 1 {
				t.Errorf("%s: process %d has %d instances, want 1", name, p.PID, len(h.Instances))
			}
		}
		if len(held.Gaps) != 2 || !strings.Contains(held.Gaps[0].Why, "left out") || held.Gaps[1].Processes == 0 {
			t.Errorf("%s: got gaps %+v, want one of 95 instances and one of large tables", name, held.Gaps)
		}
		for range relaxAfter + len(plans) {
			held, by = holders(t, w)
		}
		if h := by[started[0][0].PID]; len(held.Gaps) != 0 || len(h.Instances) != 20 {
			t.Errorf("%s: later walks have plan %+v, %d of 20 instances and gaps %+v", name, plans[w.plan], len(h.Instances), held.Gaps)
		}
	}
}
