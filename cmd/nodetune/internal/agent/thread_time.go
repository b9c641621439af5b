package agent

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// threadTime runs f and returns the processor time of its thread, or 0 where the kernel
// does not answer: clock_gettime(2). Other tasks do not count, nor does waiting for a
// processor, which on a busy node takes many times as long.
func threadTime(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var began, ended unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &began)
	f()
	if err != nil || unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ended) != nil {
		return 0
	}
	return time.Duration(ended.Nano() - began.Nano())
}
