package rotate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

func daemonLogs(t *testing.T, n int) (r *Rotator, dir string, files []string) {
	t.Helper()
	dir = t.TempDir()
	for i := range n {
		files = append(files, filepath.Join(dir, fmt.Sprintf("v%d.log", i)))
	}
	return newRotator(t, dir), dir, files
}

// A daemon that writes several logs is asked once for all that are rotated together, and
// has opened each of them again.
func TestOneSignalForEachDaemon(t *testing.T) {
	r, _, files := daemonLogs(t, 10)
	d := startDaemon(t, files[:7])
	other := startDaemon(t, files[7:])
	asked := map[string]int{}
	var logs []Log
	for i, file := range files {
		pid := d.cmd.Process.Pid
		if i >= 7 {
			pid = other.cmd.Process.Pid
		}
		logs = append(logs, Log{file, Options{Reopen: Reopen{PID: pid}, Compress: archive.None, Asked: func(who string) { asked[who]++ }}})
	}
	for i, got := range r.RotateAll(t.Context(), logs, time.Now()) {
		if got.Err != nil || disktest.ReadFile(t, got.Archive) != "a line\n" {
			t.Errorf("%s: %+v", files[i], got)
		}
	}
	disktest.WaitUntil(t, "new lines in each log", func() bool {
		return !slices.ContainsFunc(files, func(f string) bool { return disktest.ReadFile(t, f) != "a line\n" })
	})
	if n, m := d.hangups(t), other.hangups(t); n != 1 || m != 1 || len(asked) != 2 {
		t.Errorf("%d and %d signals, want 1 each; asked %v", n, m, asked)
	}
}

// A process that got the signal for one log gets none for the next, also when it has
// already handled the first.
func TestSignalOnce(t *testing.T) {
	r, _, files := daemonLogs(t, 1)
	d := startDaemon(t, files)
	var st unix.Stat_t
	disktest.Must(t, unix.Stat(files[0], &st))
	at := hostfs.Inode{Dev: st.Dev, Ino: st.Ino}
	openers, err := r.Host.Openers(t.Context(), ".log", at)
	disktest.Must(t, err)
	to, sent := Reopen{PID: d.cmd.Process.Pid}, signalled{}
	for range 3 {
		if who, err := to.request(r.Host.Walker, r.Host.Procfs, openers[at], sent); err != nil || !strings.Contains(who, "SIGHUP to ") {
			t.Errorf("%q, %v", who, err)
		}
		if len(sent) == 1 && !d.out.Scan() { // the only signal
			t.Fatal("no signal")
		}
		sent[signalTarget{}] = nil
	}
	if n := d.hangups(t); n != 0 {
		t.Errorf("%d more signals", n)
	}
}

// Archives that a daemon still writes are asked for together, too.
func TestOneSignalAgain(t *testing.T) {
	r, logs := hostDir(t)
	var files []string
	for i := range 5 {
		files = append(files, filepath.Join(logs, fmt.Sprintf("v%d.log", i)))
	}
	d := startDaemon(t, files)
	for _, f := range files { // as a run that was killed before it asked leaves them
		disktest.Must(t, os.Rename(f, f+".20260131-115900000000"))
		disktest.WriteFile(t, f, "")
	}
	rules := []Rule{{Paths: []string{"/var/log/*.log"}, MaxSize: 1 << 30, Reopen: Reopen{PID: d.cmd.Process.Pid}}}
	for _, a := range r.Pass(t.Context(), rules, false, time.Now()) {
		t.Errorf("%+v", a)
	}
	disktest.WaitUntil(t, "new lines in each log", func() bool {
		return !slices.ContainsFunc(files, func(f string) bool { return disktest.ReadFile(t, f) != "a line\n" })
	})
	if n := d.hangups(t); n != 1 {
		t.Errorf("%d signals, want 1", n)
	}
}

// A writer that catches the signal and does not reopen its log gets its file back: its
// lines are again where the readers of the log look. The log is left alone for an hour.
func TestWriterThatNeverReopens(t *testing.T) {
	for name, c := range map[string]struct {
		before func(t *testing.T, file string) // before it would get its file back
		back   bool
	}{
		"none reopens":               {func(*testing.T, string) {}, true},
		"a reader has the new file":  {func(t *testing.T, file string) { disktest.HoldOpen(t, file) }, true},
		"another writer has written": {func(t *testing.T, file string) { disktest.WriteFile(t, file, "x\n") }, false},
		"another writer has it open": {func(t *testing.T, file string) {
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0)
			disktest.Must(t, err)
			t.Cleanup(func() { _ = f.Close() })
		}, false},
		"it is gone": {func(t *testing.T, file string) { disktest.Must(t, os.Remove(file)) }, true},
		"it is a link": {func(t *testing.T, file string) {
			disktest.Must(t, os.Remove(file))
			disktest.Must(t, os.Symlink("/etc/passwd", file))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, logs := hostDir(t)
			file := filepath.Join(logs, "app.log")
			d := startDaemon(t, []string{file}, "IGNORE=1")
			rules := []Rule{{Paths: []string{"/var/log/*.log"}, MaxSize: 5, Reopen: Reopen{PID: d.cmd.Process.Pid}}}
			now := time.Now().Add(time.Minute)
			acts := r.Pass(t.Context(), rules, false, now)
			if len(acts) != 1 || acts[0].Err != nil || disktest.ReadFile(t, file) != "" {
				t.Fatalf("%+v", acts)
			}
			archived := filepath.Join(logs, filepath.Base(acts[0].Archive))
			for _, after := range []time.Duration{10 * time.Second, 20 * time.Second} {
				for _, a := range r.Pass(t.Context(), rules, false, now.Add(after)) {
					t.Errorf("after %v: %+v", after, a)
				}
			}
			c.before(t, file)
			acts = r.Pass(t.Context(), rules, false, now.Add(30*time.Second))
			if !c.back {
				if _, err := os.Stat(archived); err != nil {
					t.Errorf("it was given back: %v, %+v", err, acts)
				}
				return
			}
			if len(acts) != 1 || acts[0].Verb != logdir.ActionSkip || !strings.Contains(acts[0].Error, "did not reopen it") {
				t.Errorf("%+v", acts)
			}
			if got := disktest.ReadFile(t, file); got != "a line\n" {
				t.Errorf("the log has %q", got)
			}
			f, err := os.Open(file)
			disktest.Must(t, err)
			if archive.IsOwn(f) {
				t.Error("the log still has the mark of an archive")
			}
			_ = f.Close()
			acts = r.Pass(t.Context(), rules, false, now.Add(5*time.Minute))
			if len(acts) != 1 || acts[0].Verb != logdir.ActionSkip {
				t.Errorf("five minutes later: %+v", acts)
			}
			acts = r.Pass(t.Context(), rules, false, now.Add(2*time.Hour))
			if len(acts) == 0 || acts[len(acts)-1].Verb != logdir.ActionRotate {
				t.Errorf("two hours later: %+v", acts)
			}
		})
	}
}

func TestCommonPart(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"app.log"}, "app.log"},
		{[]string{"a.log", "bb.log"}, ".log"},
		{[]string{"access_a", "access_b"}, "access_"},
		{[]string{"x", "y"}, ""},
		{[]string{"messages", "messages"}, "messages"},
		{[]string{"a.log", "a.log.1"}, "a.log"},
	} {
		if got := commonPart(c.names); got != c.want {
			t.Errorf("%q: %q, want %q", c.names, got, c.want)
		}
	}
}

// Many logs that no process has open are rotated without a look at the processes, and
// more of them than are open together.
func TestRotateManyTogether(t *testing.T) {
	r, dir, files := daemonLogs(t, maxTogether+3)
	var logs []Log
	for _, f := range files {
		disktest.WriteFile(t, f, "x")
		logs = append(logs, Log{f, Options{Compress: archive.None}})
	}
	disktest.WriteFile(t, files[1], "") // it stays
	disktest.Must(t, os.Remove(files[2]))
	r.Host.Walker = nil // a walk would fail
	for i, got := range r.RotateAll(t.Context(), logs, disktest.Noon) {
		switch {
		case i == 2 && got.Err == nil, i == 1 && got.Archive != "", i != 2 && got.Err != nil, i > 2 && disktest.ReadFile(t, got.Archive) != "x":
			t.Errorf("%s: %+v", files[i], got)
		}
	}
	if n := len(disktest.List(t, dir)); n != 2*len(files)-3 {
		t.Errorf("%d files", n)
	}
	r.Host.Walker = newRotator(t, dir).Host.Walker // to close
}
