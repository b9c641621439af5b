package bpf

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

const initialNS = inotify.InitialUserNS

func openTable(t testing.TB) *Table {
	t.Helper()
	table, err := Open("/proc", NewTypes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

// oldTable opens the table as on a kernel before Linux 5.17, without bpf_loop.
func oldTable(t *testing.T) *Table {
	t.Helper()
	spec, err := loadFor(false, loadUcounts)
	if err != nil {
		t.Fatal(err)
	}
	self, err := ownAccount("/proc")
	if err != nil {
		t.Fatal(err)
	}
	table, err := open(spec, self, NewTypes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

// allKinds has every way to hold instances. A walk of /proc charges most of them to
// the wrong user.
var allKinds = []inotifytest.Spec{
	{Kind: inotifytest.Plain, Processes: 3, UID: 70301, Instances: 4, Watches: 5},
	{Kind: inotifytest.Fork, Processes: 2, UID: 70302, Instances: 3, Watches: 2, Copies: 4},
	{Kind: inotifytest.Dup, Processes: 2, UID: 70303, Instances: 2, Watches: 7, Copies: 3},
	{Kind: inotifytest.Setuid, Processes: 1, UID: 70304, Instances: 2, Watches: 3, Other: 70305},
	{Kind: inotifytest.Thread, Processes: 2, UID: 70306, Instances: 5, Watches: 1},
	{Kind: inotifytest.DeadLeader, Processes: 2, UID: 70307, Instances: 3, Watches: 4},
	{Kind: inotifytest.Flight, Processes: 2, UID: 70308, Instances: 3, Watches: 1},
	{Kind: inotifytest.UserNS, Processes: 2, UID: 70309, Instances: 6, Watches: 2, Other: 70310},
}

// TestAccounts: the figures of every user are exact while another user creates and
// closes 10,000 instances a second. Instances in a user namespace are charged to the
// owner of the namespace as well.
func TestAccounts(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	tables := []*Table{openTable(t), oldTable(t)}
	inotifytest.New(t, 10).Start(allKinds...)
	churned := churn(t)
	for i := 0; churned.Load() < 10_000; i++ {
		all, err := tables[i%len(tables)].Accounts()
		if err != nil {
			t.Fatal(err)
		}
		below := 0
		got := map[uint32]inotify.AccountUsage{}
		for _, a := range all {
			if a.UserNS == initialNS {
				got[a.UID] = a
			} else if a.UID == 70310 {
				below++
				if a.Instances != 6 || a.Watches != 12 || a.Level != 1 {
					t.Errorf("in a user namespace: %+v", a)
				}
			}
		}
		if below != 2 {
			t.Fatalf("%d accounts in user namespaces, want 2: %+v", below, all)
		}
		for _, s := range allKinds {
			a := got[uint32(s.UID)]
			n := int64(s.Processes * s.Instances)
			if a.Instances != n || a.Watches != n*int64(s.Watches) || a.InstancesLimit != 128 || a.Level != 0 {
				t.Fatalf("%s: got %+v, want %d instances and %d watches", s.Kind, a, n, n*int64(s.Watches))
			}
		}
		if a, there := got[70305]; there {
			t.Fatalf("a uid that a process changed to is charged: %+v", a)
		}
	}
}

// churn creates and closes 10,000 instances a second as uid 0.
func churn(t *testing.T) *atomic.Int64 {
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	ended := make(chan bool)
	began := time.Now()
	go func() {
		for tick := time.Tick(time.Millisecond); ctx.Err() == nil; <-tick {
			for n.Load() < time.Since(began).Milliseconds()*10 {
				if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC); err == nil {
					unix.Close(fd)
				}
				n.Add(1)
			}
		}
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		t.Logf("%d opens and closes in %s", n.Load(), time.Since(began))
	})
	return &n
}

// TestMoreThanOneRun: the table has more users than one run can return.
func TestMoreThanOneRun(t *testing.T) {
	privtest.Host(t)
	const users = 600
	var specs []inotifytest.Spec
	for i := range users {
		specs = append(specs, inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: 71000 + i, Instances: 1})
	}
	inotifytest.New(t, 1).Start(specs...)
	all, err := openTable(t).Accounts()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, a := range all {
		if a.UID >= 71000 && a.UID < 71000+users && a.Instances == 1 {
			n++
		}
	}
	if n != users {
		t.Errorf("got %d of %d users", n, users)
	}
}

// TestWrongTable: a table that is not as expected is an error.
func TestWrongTable(t *testing.T) {
	privtest.Root(t)
	self, err := ownAccount("/proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("hash", func(t *testing.T) {
		spec, err := load(loadUcounts)
		if err != nil {
			t.Fatal(err)
		}
		if err := spec.Variables[ucountsVarGoldenRatio].Set(uint64(0x9E3779B97F4A7C15)); err != nil {
			t.Fatal(err)
		}
		if table, err := open(spec, self, NewTypes()); err == nil {
			table.Close()
			t.Error("no error with another hash function")
		} else if errors.Is(err, ErrTemporary) {
			t.Errorf("%v is temporary", err)
		} else {
			t.Log(err)
		}
	})
	t.Run("counter", func(t *testing.T) {
		spec, err := load(loadUcounts)
		if err != nil {
			t.Fatal(err)
		}
		table, err := open(spec, inotify.Owner{UserNS: self.UserNS, UID: 70399}, NewTypes())
		if err == nil {
			table.Close()
			t.Fatal("no error with an account that is not charged")
		}
		if !errors.Is(err, ErrTemporary) || !strings.Contains(err.Error(), "changed nodetune's account by 0 and 0") {
			t.Error(err)
		}
	})
}

func TestMain(m *testing.M) {
	if os.Getenv(openEnv) != "" {
		os.Exit(openAndPrint())
	}
	if words := os.Getenv(waysOpenEnv); words != "" {
		os.Exit(openWaysWithout(words))
	}
	if how := os.Getenv(failEnv); how != "" {
		os.Exit(fail(how))
	}
	os.Exit(m.Run())
}

// BenchmarkAccounts reads the accounts of this machine.
func BenchmarkAccounts(b *testing.B) {
	privtest.Root(b)
	table := openTable(b)
	b.ReportAllocs()
	var before, after unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &before)
	for b.Loop() {
		if _, err := table.Accounts(); err != nil {
			b.Fatal(err)
		}
	}
	_ = unix.Getrusage(unix.RUSAGE_SELF, &after)
	cpu := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
}
