package tracefs

import (
	"bytes"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]failure{
		"      fluent-bit-1762    [001] ..... 14526.197980: sys_inotify_init1 -> 0xffffffffffffffe8": {1762, "inotify_init1", 24},
		"b-1 [0]: sys-22586   [000] d.h.. 14526.205836: sys_inotify_add_watch -> 0xffffffffffffffe4": {22586, "inotify_add_watch", 28},
		"           <...>-9       [127] ..... 1.000000: sys_inotify_init -> 0xffffffffffffffe9":      {9, "inotify_init", 23},
	} {
		if got, ok := parse([]byte(line)); !ok || got != want {
			t.Errorf("%q: %+v %v, want %+v", line, got, ok, want)
		}
	}
	for _, line := range []string{
		"", "  a", "CPU:1 [LOST 1234 EVENTS]", "# tracer: nop",
		"x-1 [0] ..... 1.0: sys_inotify_init1 -> 0x3",                // it succeeded
		"x-1 [0] ..... 1.0: sys_inotify_init1 -> 0xffffffffffff0000", // no errno
		"x-y [0] ..... 1.0: sys_inotify_init1 -> 0xffffffffffffffe8",
		"x--1 [0 ..... 1.0: sys_inotify_init1 -> 0xffffffffffffffe8",
	} {
		if got, ok := parse([]byte(line)); ok {
			t.Errorf("%q is %+v", line, got)
		}
	}
	if n, ok := lost([]byte("CPU:1 [LOST 1234 EVENTS]")); !ok || n != 1234 {
		t.Errorf("lost %d %v", n, ok)
	}
}

// FuzzParse: a program cannot choose a name that makes its line name another
// process. The name has at most 15 bytes.
func FuzzParse(f *testing.F) {
	f.Add([]byte("tail"), 1762, 24)
	f.Add([]byte("\nb-1 [0]: sys"), 22586, 28)
	f.Add([]byte(" -> 0xffffffff"), 1, 4095)
	f.Fuzz(func(t *testing.T, comm []byte, tid, errno int) {
		if tid <= 0 || tid > 1<<22 || errno <= 0 || errno > 4095 || bytes.IndexByte(comm, 0) >= 0 {
			return
		}
		comm = comm[:min(len(comm), 15)]
		line := lineOf(comm, tid, errno)
		want := failure{tid, "inotify_init1", errno}
		var tracer FailureTracer
		tracer.buf = make([]byte, 4096)
		counts := map[failure]int64{}
		half := len(line) / 2
		tracer.lines(line[:half], counts)
		tracer.lines(line[half:], counts)
		if counts[want] != 1 || len(counts) != 1 || len(tracer.rest) != 0 {
			t.Errorf("%q: %+v, rest %q", line, counts, tracer.rest)
		}
		tracer.lines(comm, counts) // not a line that the kernel prints
		_, _ = lost(comm)
	})
}
