package inotify

import (
	"fmt"
	"testing"
	"time"
)

// What is of one kind is counted together, new once, and forgotten ten
// minutes after the last one.
func TestRefused(t *testing.T) {
	var r RecentFailures
	now := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration, pid int, comm string) []SyscallFailure {
		return []SyscallFailure{{Call: CallInit, Errno: 24, Resource: Instances, PID: pid, Comm: comm, Count: 3, At: now.Add(d)}}
	}
	if fresh := r.Add(at(0, 1, "a"), now); len(fresh) != 1 {
		t.Errorf("the first one: %+v", fresh)
	}
	if fresh := r.Add(at(time.Second, 2, "a"), now.Add(time.Second)); len(fresh) != 0 {
		t.Errorf("its next start is new again: %+v", fresh)
	}
	r.Add(at(2*time.Second, 3, "b"), now.Add(2*time.Second))
	got := r.Recent(now.Add(3 * time.Second))
	if len(got) != 2 || got[0].Comm != "b" || got[1].PID != 2 || got[1].Count != 6 {
		t.Errorf("got %+v", got)
	}
	if got := r.Recent(now.Add(failureWindow + 1500*time.Millisecond)); len(got) != 1 || got[0].Comm != "b" {
		t.Errorf("ten minutes later: %+v", got)
	}
	if fresh := r.Add(at(time.Hour, 4, "a"), now.Add(time.Hour)); len(fresh) != 1 || fresh[0].Count != 3 {
		t.Errorf("an hour later: %+v", fresh)
	}
	for i := range 1000 {
		r.Add(at(time.Hour, i, fmt.Sprint(i)), now.Add(time.Hour))
	}
	if n := len(r.Recent(now.Add(time.Hour))); n > maxFailureKinds {
		t.Errorf("%d are remembered", n)
	}
}
