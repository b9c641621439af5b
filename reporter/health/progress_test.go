package health

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestOneStuckTaskIsNoReasonToRestart(t *testing.T) {
	start := time.Now()
	var p Progress
	p.Begin("disk", time.Minute, start) // and never ends
	p.Begin("sysctl", time.Minute, start)
	p.End("sysctl", nil, start.Add(time.Second))

	later := start.Add(10 * time.Minute)
	p.Begin("sysctl", time.Minute, later)
	p.End("sysctl", nil, later)
	if err := Live(p.Passes(), later); err != nil {
		t.Errorf("one of two tasks is on time, and still: %v", err)
	}
	if err := Live(p.Passes(), later.Add(10*time.Minute)); err == nil {
		t.Error("no task has ended a pass for ten periods, and that counts as alive")
	} else if !strings.Contains(err.Error(), "disk: stuck in a pass for 20m0s") {
		t.Errorf("the error does not name the pass that is stuck: %v", err)
	}
}

func TestNothingBegunIsNotAlive(t *testing.T) {
	if Live(nil, time.Now()) == nil {
		t.Error("no task has begun, and that counts as alive")
	}
}

func TestReadyAfterTheFirstFullPass(t *testing.T) {
	start := time.Now()
	tasks := []string{"sysctl", "disk"}
	var p Progress
	p.Begin("sysctl", time.Minute, start)
	p.End("sysctl", errors.New("a pass that failed has ended too"), start)
	if err := Ready(tasks, p.Passes(), start); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("disk has not begun: got %v", err)
	}
	p.Begin("disk", time.Minute, start)
	if err := Ready(tasks, p.Passes(), start); err == nil {
		t.Error("disk is in its first pass, and that counts as ready")
	}
	if err := Ready(tasks, p.Passes(), start.Add(time.Hour)); err != nil {
		t.Errorf("a stuck task holds up the roll-out: %v", err)
	}
	p.End("disk", nil, start.Add(time.Second))
	if err := Ready(tasks, p.Passes(), start.Add(time.Second)); err != nil {
		t.Errorf("every task has ended a pass: %v", err)
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
