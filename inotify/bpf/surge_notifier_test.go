package bpf

import (
	"errors"
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
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
func (n *ThresholdNotifier) own(t testing.TB) inotify.Charged {
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
	own := inotify.Level{UID: was.UID, Instances: was.Instances + 60, Watches: math.MaxInt64}
	if err := n.Set(inotify.Levels{Fullest: [8]inotify.Level{own}, N: 1, Others: never}); err != nil {
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
	own := inotify.Level{UID: n.own(t).UID, Instances: 1, Watches: math.MaxInt64}
	for range 5 {
		if err := n.Set(inotify.Levels{Fullest: [8]inotify.Level{own}, N: 1, Others: never}); err != nil {
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
	if err := n.Set(inotify.Levels{Others: never}); err != nil {
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

// never is a threshold that no account reaches.
var never = inotify.Level{Instances: math.MaxInt64, Watches: math.MaxInt64}

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
				if err := n.Set(inotify.Levels{Others: never}); err != nil {
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
