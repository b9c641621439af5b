package scenario

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// lines is which of the numbers 1 to N were seen.
type lines struct {
	seen  []uint64
	count int
}

func newLines(most int) lines { return lines{seen: make([]uint64, most/64+1)} }

// add takes what a line says: "   123<TAB>text".
func (l *lines) add(text []byte) {
	number, _, ok := bytes.Cut(text, []byte("\t"))
	n, err := strconv.Atoi(string(bytes.TrimLeft(number, " ")))
	if !ok || err != nil || n/64 >= len(l.seen) {
		return
	}
	if bit := uint64(1) << (n % 64); l.seen[n/64]&bit == 0 {
		l.seen[n/64] |= bit
		l.count++
	}
}

// missing returns the first ranges of the numbers up to most that were not seen.
func (l *lines) missing(most int) (ranges []string) {
	for n, from := 1, 0; n <= most+1 && len(ranges) < 10; n++ {
		has := n > most || l.seen[n/64]&(1<<(n%64)) != 0
		switch {
		case !has && from == 0:
			from = n
		case has && from != 0:
			ranges = append(ranges, fmt.Sprintf("%d-%d", from, n-1))
			from = 0
		}
	}
	return ranges
}

// A part is one file of a container's log, in the CRI's format: TIME stdout F
// TEXT. A rotation may cut a line anywhere: the file ends with its beginning,
// marked P, and the next one begins with the rest of it.
type part struct {
	begun time.Time // of its first line
	first []byte    // its first line's text
	cut   []byte    // its last line's text, where that goes on in the next file
	rest  []byte    // not a whole line yet
}

// read takes what r has; buf is where it is read to.
func (p *part) read(l *lines, r io.Reader, buf []byte) error {
	for {
		n, err := r.Read(buf)
		text := append(p.rest, buf[:n]...)
		for {
			line, after, ok := bytes.Cut(text, []byte("\n"))
			if !ok {
				break
			}
			p.line(l, line)
			text = after
		}
		p.rest = bytes.Clone(text)
		if n == 0 || err != nil {
			return err
		}
	}
}

func (p *part) line(l *lines, line []byte) {
	at, text, _ := bytes.Cut(line, []byte(" stdout "))
	tag, text, _ := bytes.Cut(text, []byte(" "))
	if p.cut = nil; string(tag) == "P" {
		p.cut = bytes.Clone(text)
	}
	switch {
	case p.begun.IsZero():
		p.begun, _ = time.Parse(time.RFC3339Nano, string(at))
		p.first = bytes.Clone(text)
	case p.cut == nil:
		l.add(text)
	}
}

// join adds the lines at the ends of parts that follow each other. The names of
// files have no order: those of the kubelet have full seconds only.
func (l *lines) join(parts []*part) {
	slices.SortStableFunc(parts, func(a, b *part) int { return a.begun.Compare(b.begun) })
	var cut []byte
	for _, p := range parts {
		l.add(append(cut, p.first...))
		cut = p.cut
	}
}

// onDisk adds what a container's directory has, compressed or not, and returns
// the names of the files.
func (l *lines) onDisk(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	buf := make([]byte, 1<<20)
	var parts []*part
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		p := &part{}
		if err := p.read(l, r, buf); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
		parts = append(parts, p)
		_ = f.Close()
	}
	l.join(parts)
	return names
}

// A follower collects one container's log as Fluent Bit does: an inotify watch
// reports the log, it opens the file of that name, and continues with a rotated
// file for rotateWait, also if data is unread after that.
type follower struct {
	lines
	name    string
	stalled atomic.Bool // it stops reading, as a collector whose output is down
	stop    func()      // ends it when it has read what is there; then lines may be read

	mu    sync.Mutex
	parts []*part // of all the files that it opened

	watch int
	files []*followed // open now, the newest last
}

type followed struct {
	*os.File
	*part
	inode uint64
	until time.Time // it was rotated, and is given up then
}

const rotateWait = time.Second // Fluent Bit's Rotate_Wait is 5 s by default

// follow starts a collector of the log at name, of so many lines.
func follow(t *testing.T, name string, most int) *follower {
	t.Helper()
	watch, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{lines: newLines(most), name: name, watch: watch}
	end, ended := make(chan struct{}), make(chan struct{})
	f.stop = sync.OnceFunc(func() { close(end); <-ended })
	t.Cleanup(f.stop)
	go func() {
		defer close(ended)
		f.run(end)
	}()
	return f
}

// opened is how many files it has opened.
func (f *follower) opened() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.parts)
}

// wait waits until it has so many lines.
func (f *follower) wait(t *testing.T, lines int) {
	t.Helper()
	cluster.Eventually(t, fmt.Sprintf("%d lines are collected", lines), func(context.Context) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.count < lines {
			return fmt.Errorf("%d are, and %.1f %% of the disk is available", f.count, avail())
		}
		return nil
	})
}

func (f *follower) run(end <-chan struct{}) {
	defer func() {
		for _, x := range f.files {
			_ = x.Close()
		}
		_ = syscall.Close(f.watch)
	}()
	buf, events := make([]byte, 64<<10), make([]byte, 4096)
	was := time.Now()
	for last := false; ; {
		now := time.Now()
		f.held(now.Sub(was))
		was = now
		if !f.stalled.Load() || last {
			f.look(now, buf)
		}
		if last {
			f.join(f.parts)
			return
		}
		select {
		case <-end:
			last = true
		case <-time.After(20 * time.Millisecond):
			_, _ = syscall.Read(f.watch, events) // what it says is found out by looking
		}
	}
}

// held gives the rotated files the time back for which the machine did not let
// the follower run.
func (f *follower) held(d time.Duration) {
	if d < rotateWait/5 {
		return
	}
	for _, x := range f.files {
		if !x.until.IsZero() {
			x.until = x.until.Add(d)
		}
	}
}

// look opens what has the name now, reads all that is there, and gives up what
// was rotated long ago.
func (f *follower) look(now time.Time, buf []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if x := f.open(); x != nil {
		for _, old := range f.files {
			if old.until.IsZero() {
				old.until = now.Add(rotateWait)
			}
		}
		f.files, f.parts = append(f.files, x), append(f.parts, x.part)
	}
	f.files = slices.DeleteFunc(f.files, func(x *followed) bool {
		late := !x.until.IsZero() && now.After(x.until)
		if late {
			_ = x.Close()
		} else {
			_ = x.read(&f.lines, x, buf)
		}
		return late
	})
}

// open opens what has the name, unless it has that open.
func (f *follower) open() *followed {
	file, err := os.Open(f.name)
	if err != nil {
		return nil // it is between two names
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &st); err != nil || len(f.files) > 0 && f.files[len(f.files)-1].inode == st.Ino {
		_ = file.Close()
		return nil
	}
	_, _ = syscall.InotifyAddWatch(f.watch, f.name, syscall.IN_MODIFY|syscall.IN_MOVE_SELF|syscall.IN_ATTRIB)
	return &followed{File: file, part: &part{}, inode: st.Ino}
}
