package procscan

import (
	"fmt"
	"testing"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

func scan(t testing.TB, change func(*inotify.Policy)) (*Scanner, inotify.Usage) {
	t.Helper()
	p := inotify.DefaultPolicy()
	p.CountPercent = 100
	if change != nil {
		change(&p)
	}
	s, err := New("/proc", "/sys", p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, u
}

func account(u inotify.Usage, uid uint32) inotify.Account {
	for _, a := range u.Accounts {
		if a.UID == uid && a.InstancesLimit != inotify.NoLimit {
			return a
		}
	}
	return inotify.Account{}
}

// truth is everything that is hard to count, with what each user holds.
var truth = []struct {
	inotifytest.Spec
	// What a process holds, and what the walk charges to uid.
	instances, watches, fds int64
	visible                 bool
	uid                     uint32 // whom procfs makes it look charged to
}{
	{inotifytest.Spec{Kind: inotifytest.Plain, Processes: 3, UID: 70101, Instances: 4, Watches: 5}, 4, 20, 0, true, 70101},
	{inotifytest.Spec{Kind: inotifytest.Fork, Processes: 2, UID: 70102, Instances: 3, Watches: 2, Copies: 4}, 3, 6, 0, true, 70102},
	{inotifytest.Spec{Kind: inotifytest.Dup, Processes: 2, UID: 70103, Instances: 2, Watches: 7, Copies: 3}, 2, 14, 0, true, 70103},
	{inotifytest.Spec{Kind: inotifytest.Setuid, Processes: 1, UID: 70104, Instances: 2, Watches: 3, Other: 70105}, 2, 6, 0, true, 70105},
	{inotifytest.Spec{Kind: inotifytest.Thread, Processes: 2, UID: 70106, Instances: 5, Watches: 1}, 5, 5, 0, true, 70106},
	{inotifytest.Spec{Kind: inotifytest.DeadLeader, Processes: 2, UID: 70107, Instances: 3, Watches: 4}, 3, 12, 0, true, 70107},
	{inotifytest.Spec{Kind: inotifytest.Flight, Processes: 1, UID: 70108, Instances: 3, Watches: 1}, 0, 0, 0, false, 70108},
	{inotifytest.Spec{Kind: inotifytest.UserNS, Processes: 2, UID: 70109, Instances: 6, Watches: 2, Other: 70110}, 6, 12, 0, true, 70109},
	{inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: 70111, Instances: 1, Watches: 30_000}, 1, 30_000, 0, true, 70111},
	{inotifytest.Spec{Kind: inotifytest.FDs, Processes: 1, UID: 70112, Instances: 1000}, 0, 0, 1000, true, 70112},
}

// TestUserNamespaces: an instance is charged on every level, to the owner of
// the namespace below.
func TestUserNamespaces(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	const owner, mapped = 70301, 70302
	herd := inotifytest.New(t, 1)
	herd.Start(inotifytest.Spec{Kind: inotifytest.UserNS, Processes: 2, UID: owner, Instances: 20, Watches: 1, Other: mapped, Copies: 2})
	s, u := scan(t, func(p *inotify.Policy) { p.ProbeUIDs = []uint32{owner, mapped} })
	levels := 0
	for _, a := range u.Accounts {
		if a.UID == mapped && a.UserNS != s.ns.self {
			levels++
			if a.Instances != 20 || a.Watches != 20 || a.InstancesLimit != inotify.NoLimit {
				t.Errorf("in a namespace: got %+v", a)
			}
		}
	}
	if levels != 2*3 {
		t.Errorf("%d accounts in namespaces, want three for each process: %+v", levels, u.Accounts)
	}
	if a := account(u, owner); a.Instances != 40 || a.Watches != 40 {
		t.Errorf("the owner of the outermost ones: got %+v", a)
	}
	if a := account(u, mapped); a.Instances != 0 {
		t.Errorf("the uid that root of the namespaces is outside is charged: %+v", a)
	}
	// The kernel agrees: 88 are left to the owner, for any process that asks.
	herd.Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: owner, Instances: 85})
	if h, err := Probe(owner, inotify.MaxProbe); err != nil || h != (inotify.Headroom{Granted: 3, Exact: true}) {
		t.Errorf("the owner gets %+v more, %v, want 3", h, err)
	}
}

// TestTruth: every figure that is called exact is exact, and what is charged
// to each user is what the kernel says where the walk can know it.
func TestTruth(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	herd := inotifytest.New(t, 30_000)
	var specs []inotifytest.Spec
	for _, c := range truth {
		specs = append(specs, c.Spec)
	}
	holders := herd.Start(specs...)
	_, u := scan(t, func(p *inotify.Policy) {
		for _, c := range truth {
			p.ProbeUIDs = append(p.ProbeUIDs, uint32(c.UID))
		}
	})
	for i, c := range truth {
		name := fmt.Sprintf("%s of uid %d", c.Kind, c.UID)
		for _, h := range holders[i] {
			p, listed := u.Process(h.PID)
			if !c.visible {
				if listed {
					t.Errorf("%s: process %d is listed: %+v", name, h.PID, p)
				}
				continue
			}
			if !listed {
				t.Errorf("%s: process %d is missing", name, h.PID)
				continue
			}
			if p.Instances != c.instances || p.Quality != inotify.Exact || p.Watches != c.watches || p.WatchesQuality != inotify.Exact {
				t.Errorf("%s: process %d: got %d instances (%s), %d watches (%s), want %d, %d, exact", name, h.PID, p.Instances, p.Quality, p.Watches, p.WatchesQuality, c.instances, c.watches)
			}
			if c.fds > 0 && (p.FDs < c.fds || p.FDs > c.fds+8) {
				t.Errorf("%s: process %d: got %d descriptors, want %d and the standard ones", name, h.PID, p.FDs, c.fds)
			}
		}
		if c.visible && c.instances > 0 {
			a := account(u, c.uid)
			if n := int64(c.Processes) * c.instances; a.Instances != n || a.Watches != int64(c.Processes)*c.watches {
				t.Errorf("%s: account: got %d instances, %d watches, want %d, %d", name, a.Instances, a.Watches, n, int64(c.Processes)*c.watches)
			}
			if a.InstancesQuality == inotify.Exact && a.Headroom == nil {
				t.Errorf("%s: a walk alone is called exact", name)
			}
		}
	}
}
