package agent

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nodetune/nodetune/reporter/health"
)

// task is one subsystem's repeated pass. Each runs in a goroutine of its own:
// a statfs(2) on a dead NFS mount cannot be cancelled, and what is stuck in
// one is not to hold up the floors.
type task struct {
	name     string
	interval func() time.Duration // asked before each wait: a reload may change it
	pass     func(context.Context) error
	wake     chan struct{} // something has changed: do not wait for the period
}

func newTask(name string, every func() time.Duration, pass func(context.Context) error) task {
	return task{name, every, pass, make(chan struct{}, 1)}
}

// requestPass asks for a pass now, or right after the one in progress. It never
// blocks.
func (t task) requestPass() {
	select {
	case t.wake <- struct{}{}:
	default: // one is asked for already
	}
}

// shutdownGrace is how long a pass in progress may take to notice that it has
// to stop, and what it has begun beside itself. Nothing is lost without it: every write
// nodetune does is one pwrite(2) or one rename(2), and the next run removes a part of an
// archive.
const shutdownGrace = 2 * time.Second

// runTasks runs every task until ctx is done, and returns without waiting for a
// pass that is stuck. background is what passes began: it ends with ctx, too.
func runTasks(ctx context.Context, tasks []task, background *sync.WaitGroup, progress *health.Progress) {
	var running sync.WaitGroup
	for _, t := range tasks {
		running.Go(func() { t.run(ctx, progress) })
	}
	<-ctx.Done()
	ended := make(chan struct{})
	go func() {
		running.Wait()
		background.Wait() // no pass begins more of it now
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(shutdownGrace):
	}
}

func (t task) run(ctx context.Context, progress *health.Progress) {
	// select picks at random when both are ready, so that only the loop's
	// condition keeps a pass from starting after the end.
	for ctx.Err() == nil {
		progress.Begin(t.name, t.interval(), time.Now())
		err := t.pass(ctx)
		every := t.interval()
		progress.End(t.name, err, every, time.Now())
		wait := time.NewTimer(jitter(every))
		select {
		case <-ctx.Done():
		case <-wait.C:
		case <-t.wake:
		}
		wait.Stop()
	}
}

// jitter spreads the passes of five thousand nodes that were rolled out
// together: d, give or take a tenth.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
