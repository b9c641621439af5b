package bpf

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/errnotest"
	"github.com/nodetune/nodetune/internal/privtest"
)

func openNotifier(t testing.TB) *ThresholdNotifier {
	t.Helper()
	n, err := openTable(t).NewThresholdNotifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// own returns the account of this process.
func (n *ThresholdNotifier) own(t testing.TB) inotify.AccountUsage {
	t.Helper()
	self, err := ownAccount("/proc")
	if err != nil {
		t.Fatal(err)
	}
	account, err := n.table.account(self)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// TestThresholdNotifier: one notification comes when the account reaches its
// threshold, and none before.
func TestThresholdNotifier(t *testing.T) {
	privtest.Host(t)
	n := openNotifier(t)
	was := n.own(t)
	own := inotify.Threshold{UID: was.UID, Instances: was.Instances + 60, Watches: math.MaxInt64}
	if err := n.Set(inotify.Thresholds{Fullest: [8]inotify.Threshold{own}, N: 1, Others: never}); err != nil {
		t.Fatal(err)
	}
	got := make(chan Notification, 2)
	ended := make(chan error)
	go func() {
		for {
			r, err := n.Wait()
			if err != nil {
				ended <- err
				return
			}
			got <- r
		}
	}()
	busy(100 * time.Millisecond)
	if len(got) > 0 {
		t.Errorf("a notification came below the threshold: %+v", <-got)
	}
	for range 60 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	began := time.Now()
	for len(got) == 0 && time.Since(began) < time.Minute {
		busy(time.Millisecond)
	}
	busy(100 * time.Millisecond)
	if len(got) != 1 {
		t.Fatalf("got %d notifications, want 1: the account was %+v and is %+v; %d bytes are unread", len(got), was, n.own(t), n.notifications.AvailableBytes())
	}
	r := <-got
	if r.Account.Owner != was.Owner || r.Account.Instances < was.Instances+60 || r.Since() > time.Minute {
		t.Errorf("got %+v, want about 60 more than %+v", r, was)
	}
	t.Logf("after %s: %+v", time.Since(began)-100*time.Millisecond, r)
	if err := n.notifications.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Wait returned %v", err)
	}
}

// TestThresholdNotifierTimer: the timer finds an account whose processes do not run,
// as often as thresholds are set.
func TestThresholdNotifierTimer(t *testing.T) {
	privtest.Host(t)
	n := openNotifier(t)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := n.link.Close(); err != nil { // leaves the timer alone
		t.Fatal(err)
	}
	own := inotify.Threshold{UID: n.own(t).UID, Instances: 1, Watches: math.MaxInt64}
	for range 5 {
		if err := n.Set(inotify.Thresholds{Fullest: [8]inotify.Threshold{own}, N: 1, Others: never}); err != nil {
			t.Fatal(err)
		}
		r, err := n.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if r.by != timer || r.Account.UID != own.UID || r.Account.Instances < 1 {
			t.Errorf("got %+v", r)
		}
	}
	if err := n.Set(inotify.Thresholds{Others: never}); err != nil {
		t.Fatal(err)
	}
	n.notifications.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if r, err := n.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a notification came without reason: %+v, %v", r, err)
	}
}

// TestNoThresholdNotifier: a tracepoint that does not exist, or that no tick passes,
// is an error.
func TestNoThresholdNotifier(t *testing.T) {
	privtest.Root(t)
	table := openTable(t)
	for _, tracepoint := range []string{"no_such_tracepoint", "sched_process_hang"} {
		if n, err := table.newThresholdNotifier(tracepoint); err == nil {
			n.Close()
			t.Errorf("%s: no error", tracepoint)
		} else {
			t.Log(err)
		}
	}
}

// TestEveryGenerationNotifies: however often thresholds are set while hrtimers expire
// on all CPUs, each set that is reached notifies. The delay makes every CPU late
// with what it stores after a notification: a flag that it resets, in place of the
// generation, disarms later thresholds for ever.
func TestEveryGenerationNotifies(t *testing.T) {
	privtest.Root(t)
	rounds := 10_000
	if s := os.Getenv(roundsEnv); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		delay  uint32
		rounds int
	}{
		{"late CPUs", 2000, rounds},
		{"as shipped", 0, rounds / 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := load(loadUcounts)
			if err != nil {
				t.Fatal(err)
			}
			if err := spec.Variables[ucountsVarTestDelay].Set(c.delay); err != nil {
				t.Fatal(err)
			}
			n, err := openTable(t).startNotifier(spec, hrtimerExpire)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { n.Close() })
			fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			expireHrtimers(t, 3)
			by := [2]int{}
			began := time.Now()
			for round := range c.rounds {
				if err := n.Set(inotify.Thresholds{Others: inotify.Threshold{Instances: 1, Watches: math.MaxInt64}}); err != nil {
					t.Fatal(err)
				}
				n.notifications.SetDeadline(time.Now().Add(20 * time.Second))
				got, err := n.Wait()
				if err != nil {
					t.Fatalf("no notification after round %d: %v", round, err)
				}
				by[got.by]++
			}
			t.Logf("%d rounds in %s, %d by ticks and %d by the timer", c.rounds, time.Since(began), by[tick], by[timer])
		})
	}
}

// TestThresholdNotifierEffectiveUID: a tick checks the account of the effective uid,
// which the kernel charges, and not that of the real one.
func TestThresholdNotifierEffectiveUID(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	n := openNotifier(t)
	cmd := exec.CommandContext(t.Context(), executable(t))
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), failEnv+"="+realUID+errnotest.Instances+" 1000000000", "GOMAXPROCS=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	by := [2]int{}
	for began := time.Now(); by[tick] == 0 && time.Since(began) < 30*time.Second; {
		own := inotify.Threshold{UID: otherUID, Instances: 100, Watches: math.MaxInt64}
		if err := n.Set(inotify.Thresholds{Fullest: [8]inotify.Threshold{own}, N: 1, Others: never}); err != nil {
			t.Fatal(err)
		}
		n.notifications.SetDeadline(time.Now().Add(20 * time.Second))
		got, err := n.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if got.Account.UID != otherUID || got.Account.Instances < 100 {
			t.Errorf("got %+v", got)
		}
		by[got.by]++
	}
	if by[tick] == 0 {
		t.Errorf("%d notifications by the timer and none by a tick", by[timer])
	}
}

// roundsEnv sets the rounds of TestEveryGenerationNotifies.
const roundsEnv = "NODETUNE_TEST_ROUNDS"

// expireHrtimers makes hrtimers expire on every CPU, each some 10,000 times a
// second, until t ends.
func expireHrtimers(t testing.TB, perCPU int) {
	t.Helper()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for cpu := range runtime.NumCPU() {
		for range perCPU {
			all.Go(func() {
				runtime.LockOSThread() // and never unlock: the thread ends
				var set unix.CPUSet
				set.Set(cpu)
				_ = unix.SchedSetaffinity(0, &set)
				_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
				for {
					select {
					case <-stop:
						return
					default:
					}
					_ = unix.Nanosleep(&unix.Timespec{Nsec: 20_000}, nil)
				}
			})
		}
	}
	t.Cleanup(func() {
		close(stop)
		all.Wait()
	})
}

// TestChecksPerJiffy: hrtimers that expire all the time do not make a CPU check more
// than once a jiffy, of which there are at most 1000 a second.
func TestChecksPerJiffy(t *testing.T) {
	privtest.Root(t)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	n := openNotifier(t)
	if err := n.Set(inotify.Thresholds{Others: never}); err != nil {
		t.Fatal(err)
	}
	expireHrtimers(t, 4)
	count := func() (checks, runs uint64, took time.Duration) {
		var cpus []ucountsLastCheck
		if err := n.objs.LastChecks.Lookup(uint32(0), &cpus); err != nil {
			t.Fatal(err)
		}
		for _, c := range cpus {
			checks += c.Checks
		}
		s, err := n.objs.CheckCurrent.Stats()
		if err != nil {
			t.Fatal(err)
		}
		return checks, s.RunCount, s.Runtime
	}
	began := time.Now()
	checks, runs, took := count()
	time.Sleep(time.Second)
	checks2, runs2, took2 := count()
	checks, runs, took = checks2-checks, runs2-runs, took2-took
	most := uint64(time.Since(began).Seconds()*1000+2) * uint64(runtime.NumCPU())
	t.Logf("%d checks in %d hrtimers on %d CPUs, %s of CPU time", checks, runs, runtime.NumCPU(), took)
	if checks == 0 || checks > most {
		t.Errorf("%d checks, want 1 to %d", checks, most)
	}
	if runs < 2*checks {
		t.Errorf("only %d hrtimers expired beside %d checks, which proves nothing", runs, checks)
	}
}

// never is a threshold that no account reaches.
var never = inotify.Threshold{Instances: math.MaxInt64, Watches: math.MaxInt64}

func busy(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// BenchmarkTick measures what the program adds to a tick of a busy CPU, with the
// kernel's own statistics: without thresholds, and with thresholds that are far.
func BenchmarkTick(b *testing.B) {
	privtest.Root(b)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	n := openNotifier(b)
	for _, set := range []bool{false, true} {
		b.Run(fmt.Sprintf("set=%t", set), func(b *testing.B) {
			if set {
				if err := n.Set(inotify.Thresholds{Others: never}); err != nil {
					b.Fatal(err)
				}
			}
			before, err := n.objs.CheckCurrent.Stats()
			if err != nil {
				b.Fatal(err)
			}
			for range b.N {
				busy(10 * time.Millisecond)
			}
			after, err := n.objs.CheckCurrent.Stats()
			if err != nil {
				b.Fatal(err)
			}
			n := after.RunCount - before.RunCount
			b.ReportMetric(float64((after.Runtime-before.Runtime).Nanoseconds())/float64(n), "ns/tick")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ticks/s")
		})
	}
}
