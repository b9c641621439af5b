package disk

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/privtest"
)

// readingProcess is one that has read some of a file and waits.
type readingProcess struct {
	out    *bufio.Reader
	signal func(os.Signal) error
}

func startReader(t *testing.T, file string, read int) readingProcess {
	t.Helper()
	cmd := disktest.Helper(t, "TestHelperReader", "FILE="+file, fmt.Sprint("READ=", read))
	out, err := cmd.StdoutPipe()
	disktest.Must(t, err)
	disktest.Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := readingProcess{bufio.NewReader(out), cmd.Process.Signal}
	if s, err := r.out.ReadString('\n'); s != "ready\n" {
		t.Fatalf("reader: %q, %v", s, err)
	}
	return r
}

// rest lets it read on to the end and returns the checksum of what came.
func (r readingProcess) rest(t *testing.T) string {
	t.Helper()
	disktest.Must(t, r.signal(unix.SIGUSR1))
	s, err := r.out.ReadString('\n')
	disktest.Must(t, err)
	return strings.TrimSpace(s)
}

// Of an oversized log that is being written, nodetune removes only what the reader
// has read. It rotates a log that a rule names. A log of logrotate, a log without a
// reader and a file that is no text stay.
func TestReclaimLiveForReal(t *testing.T) {
	privtest.Root(t)
	if !disktest.EveryProcessSeen(t) {
		return
	}
	root, policy := disktest.LogDisk(t, 1<<30), DefaultPolicy()
	logs := filepath.Join(root, "var/log")
	at := func(name string) string { return filepath.Join(logs, name) }
	for _, name := range []string{"alone.log", "managed.log", "ruled.log"} {
		disktest.Fill(t, at(name), 40, time.Now())
	}
	disktest.Fill(t, at("small.log"), 8, time.Now())
	disktest.Must(t, os.WriteFile(at("database"), bytes.Repeat([]byte("line\n\x00"), 7<<20), 0o640))
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "etc/logrotate.d"), 0o755))
	disktest.Must(t, os.WriteFile(filepath.Join(root, "etc/logrotate.conf"), []byte("include /etc/logrotate.d\n"), 0o644))
	disktest.Must(t, os.WriteFile(filepath.Join(root, "etc/logrotate.d/managed"), []byte("/var/log/managed.log {\n weekly\n}\n"), 0o644))
	policy.Reclaim.LiveSize = 32 << 20
	policy.Rotations = []rotate.Rule{{Paths: []string{"/var/log/ruled.log"}, MaxAge: field.Duration(100 * time.Hour)}}

	// 800,000 lines, and more while the hole is made.
	w := disktest.StartWriter(t, at("app.log"), "RATE=500000")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if st, err := os.Stat(at("app.log")); err == nil && st.Size() > 50<<20 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("the writer is slow")
		}
	}
	const read = 41 << 20
	reader := startReader(t, at("app.log"), read)
	startReader(t, at("database"), read)
	startReader(t, at("managed.log"), 39<<20)

	u := observe(t, observer(t, root, policy), time.Now())
	r := newReclaimer(t, root, policy)
	before, err := filesystem.Stat(hostfs.Root(disktest.OpenRoot(t, root)), "/var/log")
	disktest.Must(t, err)
	goal := filesystem.Goal{AvailBytes: before.SizeBytes}
	plan, err := r.Reclaim(t.Context(), "/var/log", goal, u.ReclaimInput(), true, time.Now(), nil)
	disktest.Must(t, err)
	steps := map[string]reclaim.Step{}
	for _, s := range plan.Steps {
		steps[filepath.Base(s.Path)] = s
	}
	if len(steps) != 3 || steps["app.log"].Allowed || !steps["ruled.log"].Allowed || steps["database"].Class != reclaim.ClassActiveLogs {
		t.Errorf("the plan: %+v", plan.Steps)
	}
	if s := steps["app.log"]; s.Frees < 39<<20 || s.Frees > 41<<20 {
		t.Errorf("of the log that is read it would free %d", s.Frees)
	}

	policy.Reclaim.Classes = []reclaim.Class{reclaim.ClassActiveLogs}
	r = newReclaimer(t, root, policy)
	size := func() int64 { st, err := os.Stat(at("app.log")); disktest.Must(t, err); return st.Size() }
	was := size()
	got, err := r.Reclaim(t.Context(), "/var/log", goal, u.ReclaimInput(), false, time.Now(), nil)
	disktest.Must(t, err)
	did := map[string]logdir.Action{}
	for _, a := range got.Acts {
		did[filepath.Base(a.Path)] = a
	}
	if a := did["app.log"]; a.Verb != logdir.ActionPunch || a.Err != nil || a.Bytes < 39<<20 || a.Bytes > 41<<20 {
		t.Errorf("the log that is read: %+v", a)
	}
	if a := did["ruled.log"]; a.Verb != logdir.ActionRotate || a.Err != nil || len(disktest.ReadFile(t, filepath.Join(root, a.Archive))) != 40<<20 {
		t.Errorf("the log with a rotation: %+v", a)
	}
	if a := did["database"]; a.Verb != logdir.ActionSkip || !strings.Contains(a.Error, "no lines") || len(did) != 3 {
		t.Errorf("what is no text: %+v of %+v", a, did)
	}
	// A second pass has nothing to gain, and does not say that it has.
	u = observe(t, observer(t, root, policy), time.Now())
	got, err = r.Reclaim(t.Context(), "/var/log", goal, u.ReclaimInput(), false, time.Now(), nil)
	disktest.Must(t, err)
	for _, a := range got.Acts {
		if a.Verb == logdir.ActionPunch {
			t.Errorf("again: %+v", a)
		}
	}

	disktest.Must(t, w.Cmd.Process.Signal(unix.SIGTERM))
	lines := <-w.Done
	if size() < was || size() != int64(lines)*int64(len("0000000000 the quick brown fox jumps over the lazy dog, again!\n")) {
		t.Errorf("%d lines, %d bytes", lines, size())
	}
	f, err := os.Open(at("app.log"))
	disktest.Must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(f, read, 1<<62))
	disktest.Must(t, err)
	if got, want := reader.rest(t), fmt.Sprintf("%x", h.Sum(nil)); got != want {
		t.Errorf("the reader has not got what it had not read")
	}
	// Every line from the hole on is there, in order.
	for i := (42 << 20) / 63; i < lines; i += 10_007 {
		b := make([]byte, 10)
		_, err := f.ReadAt(b, int64(i)*63)
		disktest.Must(t, err)
		if string(b) != fmt.Sprintf("%010d", i) {
			t.Fatalf("line %d is %q", i, b)
		}
	}
}
