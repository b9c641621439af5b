package logerrors

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
)

func TestErrno(t *testing.T) {
	for _, tt := range []struct {
		text string
		want unix.Errno
	}{
		{"[2026/11/20 12:00:00] [error] [/src/fluent-bit/plugins/in_tail/tail_fs_inotify.c:360 errno=24] Too many open files\n[error] failed initialize input tail.0\n", unix.EMFILE},
		{"tail_fs.c:305 errno=24] Too many open files", unix.EMFILE},
		{"tail_fs_inotify.c:148 errno=28] No space left on device", unix.ENOSPC},
		{"rsyslogd: imfile: cannot watch object '/var/log/pods': No space left on device [v8.2302.0 try https://www.rsyslog.com/e/2027 ]", unix.ENOSPC},
		{"failed to create fsnotify watcher: too many open files", unix.EMFILE},
		{"Couldn't initialize inotify: Too many open files\nTry increasing the value of /proc/sys/fs/inotify/max_user_instances", unix.EMFILE},
		{"Failed to watch /w; upper limit on inotify watches reached!\nPlease increase the amount of inotify watches allowed per user via `/proc/sys/fs/inotify/max_user_watches'.", unix.ENOSPC},
		{"accept: too many open files", 0},
		{"write /data/db: no space left on device", 0},
		{"inotify is fine\nwrite: no space left on device", 0},
		{`"msg":"a rule is not in force","key":"fs.inotify.max_user_watches","reason":"past 8192 watches of a user a collector gets errno=28 (ENOSPC)"`, 0},
		{"", 0},
	} {
		if got := Errno([]byte(tt.text)); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.text, got, tt.want)
		}
	}
}

func TestFind(t *testing.T) {
	const (
		uid = "1e4b0f9b-3378-441c-a146-e3bfdc470e28"
		bad = "2026-11-20T12:00:00Z stderr F tail_fs_inotify.c:360 errno=24] Too many open files\n"
	)
	root := t.TempDir()
	pods := filepath.Join(root, workload.PodLogs)
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(pods, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if all, err := Find(root, time.Time{}); err != nil || all != nil {
		t.Errorf("without pods: %v, %v", all, err)
	}
	crashed := "logging_fluent-bit_" + uid + "/fluent-bit/"
	write(crashed+"1.log", "fine\n")
	write(crashed+"10.log", string(bytes.Repeat([]byte("x\n"), tailBytes))+bad)
	write(crashed+"10.log.20261120-120000", "fine\n")
	write("a_recovered_"+uid+"/c/0.log", bad)
	write("a_recovered_"+uid+"/c/1.log", "fine\n")
	write("a_past_"+uid+"/c/0.log", bad+string(bytes.Repeat([]byte("x\n"), tailBytes)))
	write("not a pod/c/0.log", bad)
	old := write("a_old_"+uid+"/c/0.log", bad)
	day := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(old, day, day); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(root, "secret")
	if err := os.WriteFile(outside, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(pods, "a_link_"+uid, "c")
	if err := os.MkdirAll(link, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(link, "0.log")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(link, "1.log"), 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := Find(root, time.Now().Add(-24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	want := Ending{workload.Workload{Namespace: "logging", Pod: "fluent-bit", PodUID: uid, Container: "fluent-bit"}, unix.EMFILE}
	if len(all) != 1 || all[0] != want {
		t.Errorf("found %+v, want %+v", all, want)
	}
}

// A line means the same whatever stands above it.
func FuzzErrno(f *testing.F) {
	f.Add([]byte("tail_fs_inotify.c:360 errno=24] Too many open files"))
	f.Add([]byte("imfile: cannot watch object: No space left on device\nmax_user_instances"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, want := Errno(text), unix.Errno(0)
		for line := range bytes.Lines(text) {
			if e := Errno(line); e != 0 {
				want = e
			}
		}
		if got != want {
			t.Errorf("%q: %v, its lines %v", text, got, want)
		}
	})
}
