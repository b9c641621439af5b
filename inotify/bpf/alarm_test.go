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

func openAlarm(t testing.TB) *Alarm {
	t.Helper()
	a, err := openTable(t).NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// own returns what this process is charged with.
func (a *Alarm) own(t testing.TB) inotify.Charged {
	t.Helper()
	self, err := ownAccount("/proc")
	if err != nil {
		t.Fatal(err)
	}
	account, err := a.table.account(self)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// TestAlarm: it rings once when the level is passed, with the account, and not
// below it.
func TestAlarm(t *testing.T) {
	privtest.Host(t)
	a := openAlarm(t)
	was := a.own(t)
	own := inotify.Level{UID: was.UID, Instances: was.Instances + 60, Watches: math.MaxInt64}
	if err := a.Set(inotify.Levels{Fullest: [8]inotify.Level{own}, N: 1, Others: never}); err != nil {
		t.Fatal(err)
	}
	rung := make(chan Rung, 2)
	ended := make(chan error)
	go func() {
		for {
			r, err := a.Wait()
			if err != nil {
				ended <- err
				return
			}
			rung <- r
		}
	}()
	busy(100 * time.Millisecond)
	if len(rung) > 0 {
		t.Errorf("it rings without reason: %+v", <-rung)
	}
	for range 60 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	began := time.Now()
	for len(rung) == 0 && time.Since(began) < time.Minute {
		busy(time.Millisecond)
	}
	busy(100 * time.Millisecond)
	if len(rung) != 1 {
		t.Fatalf("it rings %d times, want once: of %+v there is now %+v; %d bytes wait", len(rung), was, a.own(t), a.rings.AvailableBytes())
	}
	r := <-rung
	if r.Account.Owner != was.Owner || r.Account.Instances < was.Instances+60 || r.Since() > time.Minute {
		t.Errorf("got %+v, want some 60 more than %+v", r, was)
	}
	t.Logf("after %s: %+v", time.Since(began)-100*time.Millisecond, r)
	if err := a.rings.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("a Wait ends with %v", err)
	}
}

// TestAlarmAtRest: the timer looks at who is on no CPU, and goes on.
func TestAlarmAtRest(t *testing.T) {
	privtest.Host(t)
	a := openAlarm(t)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := a.link.Close(); err != nil { // from the tick
		t.Fatal(err)
	}
	own := inotify.Level{UID: a.own(t).UID, Instances: 1, Watches: math.MaxInt64}
	for range 5 {
		if err := a.Set(inotify.Levels{Fullest: [8]inotify.Level{own}, N: 1, Others: never}); err != nil {
			t.Fatal(err)
		}
		r, err := a.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if r.by != timer || r.Account.UID != own.UID || r.Account.Instances < 1 {
			t.Errorf("got %+v", r)
		}
	}
	if err := a.Set(inotify.Levels{Others: never}); err != nil {
		t.Fatal(err)
	}
	a.rings.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if r, err := a.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it rings without reason: %+v, %v", r, err)
	}
}

// TestNoAlarm: a tracepoint that is not there, or that no tick passes, is refused.
func TestNoAlarm(t *testing.T) {
	privtest.Root(t)
	table := openTable(t)
	for _, tracepoint := range []string{"no_such_tracepoint", "sched_process_hang"} {
		if a, err := table.newAlarm(tracepoint); err == nil {
			a.Close()
			t.Errorf("%s rings", tracepoint)
		} else {
			t.Log(err)
		}
	}
}

// never is a level that nobody reaches.
var never = inotify.Level{Instances: math.MaxInt64, Watches: math.MaxInt64}

func busy(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// BenchmarkTick is what a tick of a busy CPU costs more, as the kernel measures
// it: while nothing is near its level, and before any is set.
func BenchmarkTick(b *testing.B) {
	privtest.Root(b)
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Fatal(err)
	}
	defer stats.Close()
	a := openAlarm(b)
	for _, set := range []bool{false, true} {
		b.Run(fmt.Sprintf("set=%t", set), func(b *testing.B) {
			if set {
				if err := a.Set(inotify.Levels{Others: never}); err != nil {
					b.Fatal(err)
				}
			}
			before, err := a.objs.Alarm.Stats()
			if err != nil {
				b.Fatal(err)
			}
			for range b.N {
				busy(10 * time.Millisecond)
			}
			after, err := a.objs.Alarm.Stats()
			if err != nil {
				b.Fatal(err)
			}
			n := after.RunCount - before.RunCount
			b.ReportMetric(float64((after.Runtime-before.Runtime).Nanoseconds())/float64(n), "ns/tick")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "ticks/s")
		})
	}
}
