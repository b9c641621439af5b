// Package inotifytest starts processes that hold inotify instances, watches and
// descriptors in all the ways that make counting them hard, for tests that
// know the truth because they have made it. It needs root and a C compiler.
package inotifytest

import (
	"bufio"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed testdata/holder.c
var source string

// Kind is a way to hold instances.
type Kind string

// The kinds.
const (
	Plain      Kind = "plain"      // in a process
	Fork       Kind = "fork"       // inherited by Copies more processes
	Dup        Kind = "dup"        // with Copies more descriptors each
	Setuid     Kind = "setuid"     // in a process that becomes Other after creating them
	Thread     Kind = "thread"     // in a thread with its own descriptors
	DeadLeader Kind = "deadleader" // in a process whose main thread has ended
	Flight     Kind = "flight"     // sent through a socket and not received
	UserNS     Kind = "userns"     // in a user namespace owned by UID, as its uid 0, which is Other outside, Copies levels deeper
	FDs        Kind = "fds"        // Instances plain descriptors instead
)

// Spec is a number of alike processes.
type Spec struct {
	Kind      Kind
	Processes int
	UID       int // euid at the time of creation
	Instances int // of each process
	Watches   int // of each instance
	Copies    int // see Kind
	Other     int // see Kind
}

// Holder is a process, or a thread with its own descriptors.
type Holder struct{ PID, TID int }

// Herd starts holders.
type Herd struct {
	t   testing.TB
	bin string
	dir string // of the files that watches are of
}

// New compiles the holder and makes the files to watch, as many as an instance
// is to have watches at most.
func New(t testing.TB, files int) *Herd {
	t.Helper()
	return &Herd{t: t, bin: build(t), dir: makeFiles(t, files)}
}

// Start starts processes and returns those that hold something, per spec. They
// end with the test.
func (h *Herd) Start(specs ...Spec) [][]Holder {
	t := h.t
	t.Helper()
	args := []string{h.dir}
	for _, s := range specs {
		args = append(args, fmt.Sprintf("%s %d %d %d %d %d %d", s.Kind, s.Processes, s.UID, s.Instances, s.Watches, s.Copies, s.Other))
	}
	cmd := exec.Command(h.bin, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// It ends and waits for its processes when it is not needed any
		// more, so that what they held is not charged to the next test.
		_ = in.Close()
		stuck := time.AfterFunc(time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer stuck.Stop()
		if err := cmd.Wait(); err != nil && !t.Failed() {
			t.Errorf("the holders did not end well: %v", err)
		}
	})
	holders := make([][]Holder, len(specs))
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "ready" {
			return holders
		}
		var i int
		var h Holder
		if _, err := fmt.Sscan(lines.Text(), &i, &h.PID, &h.TID); err != nil {
			t.Fatalf("holder printed %q: %v", lines.Text(), err)
		}
		holders[i] = append(holders[i], h)
	}
	t.Fatal("the holders could not be started")
	return nil
}

// makeFiles makes a directory with n files.
func makeFiles(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != "/"; d = filepath.Dir(d) {
		// The holders are other users, and t.TempDir is for the owner.
		if fi, err := os.Stat(d); err != nil || fi.Mode().Perm()&1 == 0 {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range n {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return dir
}

// build compiles the holder.
func build(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "holder")
	cc := exec.Command("gcc", "-O1", "-Wall", "-Werror", "-pthread", "-x", "c", "-", "-o", bin)
	cc.Stdin = strings.NewReader(source)
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("compile holder.c (is gcc installed?): %v\n%s", err, out)
	}
	return bin
}
