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
	LastErr error // of the last pass that ended
}

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
	last := p.Ended
	if last.IsZero() {
		last = p.Since
	}
	return now.Sub(last) > lateAfter*p.Every+lateSlack
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

// End notes that the pass which task began has ended.
func (p *Progress) End(task string, err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pass := p.of(task)
	pass.Took = pass.Running(now)
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

// Live returns an error when a restart could help: no task has ended a pass in
// time. One stuck task is not a reason: a statfs(2) on a dead NFS mount sleeps
// uninterruptibly, so that a restart would leave a process nobody can kill,
// and take the others down with it. That one is in [Ready]'s text, in
// nodetune_pass_running_seconds and in its conditions.
func Live(passes []Pass, now time.Time) error {
	if len(passes) == 0 {
		return errors.New("no task has begun a pass")
	}
	for _, p := range passes {
		if !p.Late(now) {
			return nil
		}
	}
	return fmt.Errorf("no task has ended a pass in time: %s", strings.Join(describe(passes, now), ", "))
}

// Ready returns an error until each of tasks has ended its first pass. A task
// that is late no longer counts: it holds up a roll-out as little as it holds
// up the other tasks.
func Ready(tasks []string, passes []Pass, now time.Time) error {
	var waiting []string
	for _, task := range tasks {
		i := slices.IndexFunc(passes, func(p Pass) bool { return p.Task == task })
		if i < 0 || passes[i].Ended.IsZero() && !passes[i].Late(now) {
			waiting = append(waiting, task)
		}
	}
	if waiting == nil {
		return nil
	}
	return fmt.Errorf("the first pass has not ended: %s", strings.Join(waiting, ", "))
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
		case p.LastErr != nil:
			line += "last pass failed: " + p.LastErr.Error()
		default:
			line += fmt.Sprintf("ok, a pass takes %v", p.Took.Round(time.Microsecond))
		}
		lines = append(lines, line)
	}
	return lines
}
