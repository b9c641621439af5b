package procwalk

import (
	"bytes"
	"io"
)

// Watch is one watch of an inotify instance, proc_pid_fdinfo(5).
type Watch struct {
	WD   int
	Ino  uint64
	Dev  uint64 // kernel's own encoding, major<<20 | minor; not that of stat(2)
	Mask uint32
}

// FDInfo is what PID/fdinfo/FD says about every descriptor.
type FDInfo struct {
	Pos   int64
	Flags uint32 // as in open(2); O_CLOEXEC is of the descriptor, the rest of the file
}

// parseFDInfo reads the lines all descriptors have. They come first.
func parseFDInfo(b []byte) (FDInfo, error) {
	pos, ok1 := lineAfter(b, "pos:")
	flags, ok2 := lineAfter(b, "flags:")
	if !ok1 || !ok2 {
		return FDInfo{}, errFormat
	}
	n, ok1 := parseUint(bytes.TrimLeft(pos, "\t "))
	f, ok2 := parseBase(bytes.TrimLeft(flags, "\t "), 8)
	if !ok1 || !ok2 || n > 1<<63-1 || f > 1<<32-1 {
		return FDInfo{}, errFormat
	}
	return FDInfo{Pos: int64(n), Flags: uint32(f)}, nil
}

var watchLine = []byte("\ninotify ")

// countWatches counts the watches in an fdinfo record of any length through
// buf. Nothing is kept per watch.
func countWatches(r io.Reader, buf []byte) (n int, err error) {
	// What is carried over is one byte shorter than watchLine, so that no
	// line is counted twice. The record itself begins a line.
	carried := copy(buf, watchLine[:1])
	for {
		got, err := r.Read(buf[carried:])
		end := carried + got
		n += bytes.Count(buf[:end], watchLine)
		carried = copy(buf, buf[max(0, end-len(watchLine)+1):end])
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// eachWatch calls each for the watches in an fdinfo record of any length
// through buf, which must hold the longest line (a watch's takes up to some
// 400 bytes: its file handle has at most 128). Longer lines are counted, but
// not shown.
func eachWatch(r io.Reader, buf []byte, each func(Watch)) (n int, err error) {
	carried, skip := 0, false
	line := func(l []byte) {
		if !skip && bytes.HasPrefix(l, watchLine[1:]) {
			n++
			if w, ok := parseWatch(l); ok {
				each(w)
			}
		}
		skip = false
	}
	for {
		got, err := r.Read(buf[carried:])
		rest := buf[:carried+got]
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			line(rest[:end])
			rest = rest[end+1:]
		}
		if err != nil {
			if len(rest) > 0 {
				line(rest)
			}
			if err == io.EOF {
				err = nil
			}
			return n, err
		}
		if carried = copy(buf, rest); carried == len(buf) {
			if !skip && bytes.HasPrefix(buf, watchLine[1:]) {
				n++
			}
			carried, skip = 0, true
		}
	}
}

// parseWatch reads "inotify wd:1 ino:3f1 sdev:fd00001 mask:100 ...", all hex.
func parseWatch(line []byte) (w Watch, ok bool) {
	rest, ok := bytes.CutPrefix(line, watchLine[1:])
	for _, f := range []struct {
		name string
		bits int
		set  func(uint64)
	}{
		{"wd:", 31, func(v uint64) { w.WD = int(v) }},
		{"ino:", 64, func(v uint64) { w.Ino = v }},
		{"sdev:", 64, func(v uint64) { w.Dev = v }},
		{"mask:", 32, func(v uint64) { w.Mask = uint32(v) }},
	} {
		if !ok {
			return Watch{}, false
		}
		var word []byte
		word, rest, _ = bytes.Cut(rest, []byte(" "))
		if word, ok = bytes.CutPrefix(word, []byte(f.name)); !ok {
			return Watch{}, false
		}
		var v uint64
		if v, ok = parseBase(word, 16); !ok || f.bits < 64 && v>>f.bits != 0 {
			return Watch{}, false
		}
		f.set(v)
	}
	return w, ok
}

// parseBase is parseUint for base 8 and 16 (lower case, as the kernel prints).
func parseBase(b []byte, base uint64) (n uint64, ok bool) {
	if len(b) == 0 {
		return 0, false
	}
	for _, c := range b {
		var d uint64
		switch {
		case c >= '0' && c <= '9':
			d = uint64(c - '0')
		case c >= 'a' && c <= 'f':
			d = uint64(c-'a') + 10
		default:
			return 0, false
		}
		if d >= base || n > (1<<64-1)/base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}
