package health

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestLive(t *testing.T) {
	const idle, busy = 10 * time.Second, time.Minute
	ended := func(p *Progress, task string, every, at time.Duration, err error, start time.Time) {
		p.Begin(task, every, start.Add(at))
		p.End(task, err, every, start.Add(at))
	}
	for _, tt := range []struct {
		name string
		run  func(p *Progress, start time.Time)
		at   time.Duration
		want string // part of the error; empty: alive
	}{
		{"nothing has begun", func(*Progress, time.Time) {}, 0, "no task has begun"},
		{"another task is stuck", func(p *Progress, start time.Time) {
			p.Begin("disk", busy, start)
			ended(p, "sysctl", busy, 10*time.Minute, nil, start)
		}, 10 * time.Minute, ""},
		{"every task is stuck", func(p *Progress, start time.Time) {
			p.Begin("disk", busy, start)
			p.Begin("inotify", busy, start)
		}, 20 * time.Minute, "disk: stuck in a pass for 20m0s"},
		{"the floors are stuck in the first pass", func(p *Progress, start time.Time) {
			p.Begin("sysctl", busy, start)
			ended(p, "inotify", busy, 6*time.Minute, nil, start)
		}, 6 * time.Minute, "the floors were not checked for 6m0s"},
		{"the floors are stuck in a later pass", func(p *Progress, start time.Time) {
			ended(p, "sysctl", busy, 0, nil, start)
			p.Begin("sysctl", busy, start.Add(busy))
			ended(p, "inotify", busy, 6*time.Minute, nil, start)
		}, 6 * time.Minute, "the floors were not checked"},
		{"the floors are late for a short time", func(p *Progress, start time.Time) {
			ended(p, "sysctl", 30*time.Second, 0, nil, start)
			ended(p, "inotify", busy, 4*time.Minute, nil, start)
		}, 4 * time.Minute, ""},
		{"the floors fail, which a restart does not mend", func(p *Progress, start time.Time) {
			ended(p, "sysctl", busy, 6*time.Minute, errors.New("read-only file system"), start)
		}, 6 * time.Minute, ""},
		{"idle tasks alone", func(p *Progress, start time.Time) {
			p.Begin("inotify", busy, start)
			p.Begin("disk", busy, start)
			ended(p, "reclaim", idle, 20*time.Minute, ErrIdle, start)
			ended(p, "refusals", idle, 20*time.Minute, fmt.Errorf("observe: %w", ErrIdle), start)
		}, 20 * time.Minute, "reclaim: nothing to do"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p Progress
			start := time.Now()
			tt.run(&p, start)
			err := Live("sysctl")(p.Passes(), start.Add(tt.at))
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("not alive: %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// An idle pass counts as done: nodetune_passes_total must show no failure.
func TestIdleIsNoFailure(t *testing.T) {
	var p Progress
	p.Begin("reclaim", time.Minute, time.Now())
	p.End("reclaim", ErrIdle, time.Minute, time.Now())
	if got := p.Passes()[0]; got.Failed != 0 || got.Done != 1 || !got.Idle || got.LastErr != nil {
		t.Errorf("got %+v", got)
	}
}

// A pass that was costly makes the next one come later: the task is not late
// while it waits for that.
func TestALongerIntervalMakesNoTaskLate(t *testing.T) {
	var p Progress
	start := time.Now()
	p.Begin("disk", 10*time.Second, start)
	p.End("disk", nil, 3*time.Minute, start)
	if pass := p.Passes()[0]; pass.Late(start.Add(3 * time.Minute)) {
		t.Error("late between two passes")
	} else if !pass.Late(start.Add(10 * time.Minute)) {
		t.Error("not late after three intervals")
	}
}

func TestReady(t *testing.T) {
	start := time.Now()
	var p Progress
	ready := Ready("sysctl", []string{"disk"})
	p.Begin("disk", time.Minute, start)
	p.End("disk", nil, time.Minute, start)
	if err := ready(p.Passes(), start); err == nil || !strings.Contains(err.Error(), "sysctl") {
		t.Errorf("the floors' first pass has not begun: got %v", err)
	}
	p.Begin("sysctl", time.Minute, start)
	for _, at := range []time.Duration{0, 3 * time.Minute, 24 * time.Hour} {
		if err := ready(p.Passes(), start.Add(at)); err == nil || !strings.Contains(err.Error(), "sysctl") {
			t.Errorf("the floors' first pass hangs for %v: got %v", at, err)
		}
	}
	p = Progress{}
	p.Begin("sysctl", time.Minute, start)
	p.End("sysctl", errors.New("a pass that failed has ended too"), time.Minute, start)
	if err := ready(p.Passes(), start); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("disk has not begun: got %v", err)
	}
	p.Begin("disk", time.Minute, start)
	if err := ready(p.Passes(), start); err == nil {
		t.Error("disk is in its first pass, and that counts as ready")
	}
	if err := ready(p.Passes(), start.Add(time.Hour)); err != nil {
		t.Errorf("another stuck task holds up the roll-out: %v", err)
	}
}

// A machine whose clock is set back or forth by years, and one that was
// suspended: the wall clock moves, the monotonic reading does not.
func TestAJumpingClockMakesNoTaskLate(t *testing.T) {
	now := time.Now() // carries a monotonic reading
	p := Pass{Task: "sysctl", Every: time.Minute, Since: now, Ended: now}
	if p.Late(now.Add(time.Minute)) {
		t.Error("late after one period")
	}
	back := Pass{Every: time.Minute, Began: now.Round(0)}
	if got := back.Running(now.Round(0).Add(-time.Hour * 24 * 365)); got != 0 {
		t.Errorf("a clock set back by a year: running for %v, want 0", got)
	}
}
