package health

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pass is the progress of one task: the pass it is in, and the last one it
// ended. Times are compared by their monotonic reading, so that a clock that
// jumps makes no task late.
type Pass struct {
	Task    string
	Every   time.Duration
	Since   time.Time // the first pass was due
	Began   time.Time // of the pass in progress; zero between passes
	Ended   time.Time // of the last pass; zero before the first has ended
	Took    time.Duration
	Done    uint64 // passes that ended without an error
	Failed  uint64
	Idle    bool  // the last pass had nothing to do
	LastErr error // of the last pass that ended
}

// ErrIdle is what a pass returns that had nothing to do, because the
// configuration or the host does not ask for its task. It is no failure, and no
// sign of life either: such a pass returns at once while every other task hangs.
var ErrIdle = errors.New("nothing to do")

// lateAfter is how many periods a task may miss before its result counts as
// stale. A pass that the scheduler held up for one period is normal on a busy
// node, and jitter moves the next one by a tenth.
const lateAfter = 3

// lateSlack is added to it, so that a period of a second in a test or on a
// machine under memory pressure is no reason for a restart.
const lateSlack = 30 * time.Second

// Late says whether the task has ended no pass for more than three of its
// periods: it is stuck in one, and what it last saw is stale.
func (p Pass) Late(now time.Time) bool {
	return p.sinceEnd(now) > lateAfter*p.Every+lateSlack
}

// sinceEnd is how long ago the last pass ended, or the first one was due.
func (p Pass) sinceEnd(now time.Time) time.Duration {
	if p.Ended.IsZero() {
		return now.Sub(p.Since)
	}
	return now.Sub(p.Ended)
}

// Running is how long the pass in progress has been going on.
func (p Pass) Running(now time.Time) time.Duration {
	if p.Began.IsZero() {
		return 0
	}
	return max(0, now.Sub(p.Began))
}

// Progress collects the passes of all tasks. Its methods may be called at the
// same time; none of them waits for a pass.
type Progress struct {
	mu     sync.Mutex
	passes []Pass
}

// Begin notes that task starts a pass.
func (p *Progress) Begin(task string, every time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pass := p.of(task)
	pass.Every, pass.Began = every, now
	if pass.Since.IsZero() {
		pass.Since = now
	}
}

// End notes that the pass which task began has ended, and that the next one is
// due after every: what a pass has cost may make the interval longer.
func (p *Progress) End(task string, err error, every time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pass := p.of(task)
	pass.Idle = errors.Is(err, ErrIdle)
	if pass.Idle {
		err = nil
	}
	pass.Took, pass.Every = pass.Running(now), every
	pass.Began, pass.Ended, pass.LastErr = time.Time{}, now, err
	if err != nil {
		pass.Failed++
	} else {
		pass.Done++
	}
}

func (p *Progress) of(task string) *Pass {
	i := slices.IndexFunc(p.passes, func(q Pass) bool { return q.Task == task })
	if i < 0 {
		p.passes = append(p.passes, Pass{Task: task})
		i = len(p.passes) - 1
	}
	return &p.passes[i]
}

// Passes returns a copy of the progress of every task, in the order in which
// they first began.
func (p *Progress) Passes() []Pass {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.passes)
}

// floorsLateAfter is how long the task that holds the floors may end no pass
// before a restart is worth its price. Its pass takes microseconds and waits for
// another nodetune's lock for 30 seconds at most.
const floorsLateAfter = 5 * time.Minute

// Live returns a check that fails when a restart could help: the task called
// floors has ended no pass for five minutes, or no task with something to do has
// ended a pass in time.
//
// One other stuck task is no reason: a statfs(2) on a dead NFS mount sleeps
// uninterruptibly, so that a restart would leave a process that cannot be
// killed, and end the other tasks too. [Ready]'s text, the metric
// nodetune_pass_running_seconds and the task's conditions report that one.
func Live(floors string) Check {
	return func(passes []Pass, now time.Time) error {
		if len(passes) == 0 {
			return errors.New("no task has begun a pass")
		}
		alive := false
		for _, p := range passes {
			if p.Task == floors && p.sinceEnd(now) > floorsLateAfter {
				return fmt.Errorf("the floors were not checked for %v: %s", p.sinceEnd(now).Round(time.Second), strings.Join(describe(passes, now), ", "))
			}
			alive = alive || !p.Idle && !p.Late(now)
		}
		if !alive {
			return fmt.Errorf("no task has ended a pass in time: %s", strings.Join(describe(passes, now), ", "))
		}
		return nil
	}
}

// Ready returns a check that fails until the task called floors and each of
// others have ended their first pass. One of others that is late no longer
// counts: it holds up a roll-out as little as it holds up the other tasks.
// Without floors in force the agent is never ready, however long that takes.
func Ready(floors string, others []string) Check {
	return func(passes []Pass, now time.Time) error {
		var waiting []string
		for _, task := range append([]string{floors}, others...) {
			i := slices.IndexFunc(passes, func(p Pass) bool { return p.Task == task })
			if i < 0 || passes[i].Ended.IsZero() && (task == floors || !passes[i].Late(now)) {
				waiting = append(waiting, task)
			}
		}
		if waiting == nil {
			return nil
		}
		return fmt.Errorf("the first pass has not ended: %s", strings.Join(waiting, ", "))
	}
}

// describe renders one line for each task, for people.
func describe(passes []Pass, now time.Time) []string {
	var lines []string
	for _, p := range passes {
		line := p.Task + ": "
		switch {
		case p.Late(now) && !p.Began.IsZero():
			line += fmt.Sprintf("stuck in a pass for %v", p.Running(now).Round(time.Second))
		case p.Late(now):
			line += "late"
		case p.Ended.IsZero():
			line += "in its first pass"
		case p.Idle:
			line += "nothing to do"
		case p.LastErr != nil:
			line += "last pass failed: " + p.LastErr.Error()
		default:
			line += fmt.Sprintf("ok, a pass takes %v", p.Took.Round(time.Microsecond))
		}
		lines = append(lines, line)
	}
	return lines
}
