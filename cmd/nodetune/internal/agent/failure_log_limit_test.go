package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/nodetune/nodetune/inotify"
)

func TestFailureLogLimit(t *testing.T) {
	start := time.Now()
	for _, tt := range []struct {
		name     string
		failure  func(i int) inotify.SyscallFailure
		min, max int // lines of 10,000 failures in 100 seconds
	}{
		{"one program", func(int) inotify.SyscallFailure {
			return inotify.SyscallFailure{Resource: inotify.Instances, UID: 65534, Comm: "a"}
		}, failureLogBurst, failureLogBurst},
		{"a program that changes its name", func(i int) inotify.SyscallFailure {
			return inotify.SyscallFailure{Resource: inotify.Instances, UID: 65534, Comm: fmt.Sprint(i)}
		}, failureLogBurst, failureLogBurst},
		{"a program with two limits", func(i int) inotify.SyscallFailure {
			return inotify.SyscallFailure{Resource: []inotify.Resource{inotify.Instances, inotify.Watches}[i%2], UID: 65534}
		}, 2 * failureLogBurst, 2 * failureLogBurst},
		{"a program that changes its user", func(i int) inotify.SyscallFailure {
			return inotify.SyscallFailure{Resource: inotify.Instances, UID: uint32(i)}
		}, allFailureLogBurst, allFailureLogBurst + 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l failureLogLimit
			lines, omitted := 0, 0
			for i := range 10_000 {
				if n, ok := l.allow(tt.failure(i), start.Add(time.Duration(i)*10*time.Millisecond)); ok {
					lines++
					omitted += n
				}
			}
			if lines < tt.min || lines > tt.max {
				t.Errorf("%d lines, want %d to %d", lines, tt.min, tt.max)
			}
			if len(l.buckets) > maxFailureBuckets {
				t.Errorf("%d users are remembered", len(l.buckets))
			}
			// Another user a while later is logged, with the number of the omitted.
			n, ok := l.allow(inotify.SyscallFailure{Resource: inotify.Watches, UID: 1 << 31}, start.Add(10*time.Minute))
			if !ok || lines+omitted+n != 10_000 {
				t.Errorf("logged %v, %d lines, %d omitted, want 10,000 in all", ok, lines, omitted+n)
			}
		})
	}
}
