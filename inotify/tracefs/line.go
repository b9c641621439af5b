package tracefs

import (
	"bytes"
	"strconv"
)

// failure is one line of trace_pipe.
type failure struct {
	tid   int
	call  string // without sys_
	errno int
}

// parse reads a line such as
//
//	fluent-bit-1762    [001] ..... 123.456789: sys_inotify_init1 -> 0xffffffffffffffe8
//
// from its end. The name of the program at the beginning can contain any text, but
// it is shorter than the rest of the line.
func parse(line []byte) (failure, bool) {
	var f failure
	head, value, ok := cutLast(line, " -> 0x")
	if !ok {
		return f, false
	}
	ret, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
	if err != nil || int64(ret) >= 0 || int64(ret) < -4095 { // MAX_ERRNO in linux/err.h
		return f, false
	}
	f.errno = int(-int64(ret))
	head, call, ok := cutLast(head, ": sys_")
	if !ok {
		return f, false
	}
	f.call = string(call)
	head, _, ok = cutLast(head, "]") // flags and time
	if !ok {
		return f, false
	}
	head, _, ok = cutLast(head, "[") // CPU
	if !ok {
		return f, false
	}
	_, tid, ok := cutLast(bytes.TrimRight(head, " "), "-")
	if !ok {
		return f, false
	}
	f.tid, err = strconv.Atoi(string(tid))
	return f, err == nil && f.tid > 0
}

// lost reads a line such as "CPU:1 [LOST 1234 EVENTS]".
func lost(line []byte) (n int64, ok bool) {
	_, rest, ok := bytes.Cut(line, []byte(" [LOST "))
	if !ok || !bytes.HasPrefix(line, []byte("CPU:")) {
		return 0, false
	}
	digits, ok := bytes.CutSuffix(rest, []byte(" EVENTS]"))
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil && n >= 0
}

func cutLast(s []byte, sep string) (before, after []byte, ok bool) {
	i := bytes.LastIndex(s, []byte(sep))
	if i < 0 {
		return s, nil, false
	}
	return s[:i], s[i+len(sep):], true
}
