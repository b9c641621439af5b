package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nodetune/nodetune/reporter/health"
)

func every(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// A pass that hangs, as a read of a frozen /proc file does, and cannot be
// cancelled: the other task goes on, and the shutdown does not wait.
func TestAStuckPassHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		thaw := make(chan struct{})
		var passes atomic.Int64
		var progress health.Progress
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		tasks := []task{
			newTask("frozen", every(time.Minute), func(context.Context) error { <-thaw; return nil }),
			newTask("well", every(time.Minute), func(context.Context) error { passes.Add(1); return nil }),
		}
		start := time.Now()
		runTasks(ctx, tasks, new(sync.WaitGroup), &progress)
		if took := time.Since(start); took > time.Hour+shutdownGrace {
			t.Errorf("the shutdown took %v longer than the grace", took-time.Hour)
		}
		if n := passes.Load(); n < 54 || n > 68 { // an hour of minutes, give or take a tenth each
			t.Errorf("%d passes in an hour beside a stuck one, want about 60", n)
		}
		for _, p := range progress.Passes() {
			if p.Late(time.Now()) != (p.Task == "frozen") {
				t.Errorf("%s: late is %v", p.Task, p.Late(time.Now()))
			}
		}
		if err := health.Live("well")(progress.Passes(), time.Now()); err != nil {
			t.Errorf("a restart would not thaw it: %v", err)
		}
		close(thaw) // synctest waits for every goroutine of the test
	})
}

func TestNoPassBeginsAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var after atomic.Int64
		var progress health.Progress
		tk := newTask("t", every(time.Second), func(ctx context.Context) error {
			if ctx.Err() != nil {
				after.Add(1)
			}
			return nil
		})
		go func() {
			time.Sleep(10 * time.Second)
			tk.requestPass()
			cancel()
			tk.requestPass() // ready at the same moment as Done
		}()
		runTasks(ctx, []task{tk}, new(sync.WaitGroup), &progress)
		if after.Load() != 0 {
			t.Error("a pass began after the end")
		}
	})
}

func TestSoonDoesNotWaitForThePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var passes atomic.Int64
		tk := newTask("t", every(time.Hour), func(context.Context) error { passes.Add(1); return nil })
		var progress health.Progress
		go runTasks(ctx, []task{tk}, new(sync.WaitGroup), &progress)
		synctest.Wait()
		if passes.Load() != 1 {
			t.Fatalf("%d passes at the start, want 1", passes.Load())
		}
		tk.requestPass()
		tk.requestPass() // asked for twice is one pass
		synctest.Wait()
		if n := passes.Load(); n != 2 && n != 3 {
			t.Errorf("%d passes after asking for one, want 2", n)
		}
		cancel()
		synctest.Wait()
	})
}

// A pass that fails is counted and tried again: one bad pass ends nothing.
func TestAFailedPassIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var n int
		tk := newTask("t", every(time.Minute), func(context.Context) error {
			if n++; n%2 == 0 {
				return errors.New("no")
			}
			return nil
		})
		var progress health.Progress
		runTasks(ctx, []task{tk}, new(sync.WaitGroup), &progress)
		p := progress.Passes()[0]
		if p.Done < 4 || p.Failed < 4 {
			t.Errorf("%d passes ended well and %d failed in ten minutes, want about 5 of each", p.Done, p.Failed)
		}
	})
}

func TestJitterStaysWithinATenth(t *testing.T) {
	lo, hi := time.Hour, time.Duration(0)
	for range 10_000 {
		d := jitter(time.Minute)
		lo, hi = min(lo, d), max(hi, d)
	}
	if lo < 54*time.Second || hi > 66*time.Second {
		t.Errorf("a minute became %v to %v", lo, hi)
	}
	if hi-lo < 10*time.Second {
		t.Errorf("a minute became %v to %v: no spread", lo, hi)
	}
}

// What a pass began beside itself, a compression, ends with the agent, which waits for
// it: it leaves no part of a file behind. It does not wait for ever.
func TestShutdownWaitsForTheBackground(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var background sync.WaitGroup
			var cleaned atomic.Bool
			thaw := make(chan struct{})
			tk := newTask("t", every(2*time.Hour), func(ctx context.Context) error {
				background.Go(func() {
					<-ctx.Done()
					if stuck {
						<-thaw
					}
					time.Sleep(shutdownGrace / 2)
					cleaned.Store(true)
				})
				return nil
			})
			var progress health.Progress
			start := time.Now()
			runTasks(ctx, []task{tk}, &background, &progress)
			if took := time.Since(start); cleaned.Load() == stuck || took > time.Hour+shutdownGrace {
				t.Errorf("stuck %t: it was waited for: %t, for %v", stuck, cleaned.Load(), took-time.Hour)
			}
			close(thaw)
			background.Wait()
		})
	}
}
