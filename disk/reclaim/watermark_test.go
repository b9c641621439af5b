package reclaim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/privtest"
)

// A disk of its own, a writer that would fill it in seconds, and a reader that
// keeps up, one that does not, and none: the disk never fills, and lines are lost
// only where the policy says so, and counted.
func TestWatermarksForReal(t *testing.T) {
	privtest.Root(t)
	pressure := filesystem.PressurePolicy{AvailPercent: 15, RecoverAvailPercent: 20, InodesPercent: 10}
	for _, c := range []struct {
		name   string
		speed  int           // of the reader, bytes per second; 0: none
		wait   time.Duration // how long it stays with a rotated file
		unread bool
	}{
		{"reader alive", 200 << 20, time.Second, false},
		{"reader slow", 1 << 20, time.Hour, true},
		{"no reader", 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, policy := host(t, 200<<20)
			file := filepath.Join(root, "var/log/app.log")
			policy.Policy.Grace = 0
			if c.unread {
				policy.Policy.Classes = append(policy.Policy.Classes, ClassUnread)
			}
			disktest.WriteFile(t, file, "")
			stop := func() (int, int) { return 0, 0 }
			if c.speed > 0 {
				stop = disktest.Collect(t, file, 1<<26, c.speed, c.wait)
			}
			w := disktest.StartWriter(t, file, "REOPEN=1", "WIDTH=162", "RATE=200000")
			policy.Rotations = []rotate.Rule{{Paths: []string{"/var/log/app.log"}, MaxSize: 8 << 20, Compress: archive.Gzip, Grace: field.Duration(1)}}
			r := reclaimer(t, root, policy)
			// By hand, what a configuration says with a unit.
			how := policy.Rotations[0].Options()
			how.Reopen = rotate.Reopen{PID: w.Cmd.Process.Pid}
			var lowest, unread uint64 = 1 << 62, 0
			acting, reclaimed := false, 0
			for end := time.Now().Add(max(time.Duration(disktest.Scale(60))*time.Second, 6*time.Second)); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				f, err := filesystem.Stat(r.host.Rootfs, "/var/log")
				disktest.Must(t, err)
				lowest = min(lowest, f.AvailBytes)
				goal, short := pressure.Goal(f, acting)
				acting = short
				how.Force = short
				if st, err := os.Stat(file); err == nil && st.Size() >= int64(policy.Rotations[0].MaxSize) {
					_, err := r.Rotate(t.Context(), "/var/log/app.log", how, time.Now())
					if _, ok := errors.AsType[*rotate.ReaderLagError](err); err != nil && !ok {
						t.Error(err)
					}
				}
				if _, err := r.FinishRotation(t.Context(), "/var/log/app.log", how, time.Now()); err != nil {
					t.Error(err)
				}
				if !short {
					continue
				}
				got, err := r.Reclaim(t.Context(), "/var/log", goal, nothingSeen(), false, time.Now(), nil)
				disktest.Must(t, err)
				for _, a := range got.Acts {
					if a.Err != nil {
						t.Error(a.Err)
					}
					unread += a.Unread
					reclaimed++
				}
			}
			_ = w.Cmd.Process.Signal(unix.SIGTERM)
			lines := <-w.Done
			_, _ = stop()
			t.Logf("%d MB written; at least %d MiB were available; %d acts; %d MiB unread lost", lines*162/1e6, lowest>>20, reclaimed, unread>>20)
			if lines < 0 {
				t.Error("the writer met a full disk")
			}
			if lowest < 4<<20 {
				t.Errorf("%d bytes available at the lowest", lowest)
			}
			if (unread > 0) != c.unread {
				t.Errorf("%d bytes unread lost", unread)
			}
		})
	}
}

// A journald of its own is kept to its budget, by rotating it and removing what
// it has archived, and its files stay whole.
func TestJournalForReal(t *testing.T) {
	privtest.Root(t)
	const name = "nodetune-test"
	machine := strings.TrimSpace(disktest.ReadFile(t, "/etc/machine-id"))
	dir := "/var/log/journal/" + machine + "." + name
	conf := "/etc/systemd/journald@" + name + ".conf"
	disktest.Must(t, os.MkdirAll(dir, 0o755))
	disktest.Must(t, os.WriteFile(conf, []byte("[Journal]\nStorage=persistent\nSystemMaxFileSize=1M\nRateLimitIntervalSec=0\nSystemMaxUse=1G\n"), 0o644))
	disktest.Must(t, os.MkdirAll("/run/systemd/journal."+name, 0o755))
	t.Cleanup(func() {
		disktest.Must(t, os.RemoveAll(dir))
		disktest.Must(t, os.Remove(conf))
		disktest.Must(t, os.RemoveAll("/run/systemd/journal."+name))
		_ = os.RemoveAll("/run/log/journal/" + machine + "." + name)
	})
	disktest.Start(t, "/lib/systemd/systemd-journald", name)
	socket := "/run/systemd/journal." + name + "/socket"
	var conn net.Conn
	for deadline := time.Now().Add(20 * time.Second); conn == nil; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("unixgram", socket)
		if err == nil {
			conn = c
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	filler := make([]byte, 8<<10)
	for i := range 1500 {
		for k := range filler {
			filler[k] = byte('!' + rand.IntN(90)) // compresses to hardly less
		}
		_, err := fmt.Fprintf(conn, "MESSAGE=%d %s\n", i, filler)
		disktest.Must(t, err)
	}
	policy := reclaimConfig()
	policy.LogPaths = []string{dir}
	policy.Policy.Classes = []Class{ClassJournal}
	policy.Policy.JournalKeep = 2 << 20
	r := reclaimer(t, "/", policy)
	r.journald = "run/systemd/journal." + name + "/io.systemd.journal"
	disktest.Must(t, r.rotateJournal(t.Context()))
	size := func() (sum, files int64) {
		entries, err := os.ReadDir(dir)
		disktest.Must(t, err)
		for _, e := range entries {
			if st, err := e.Info(); err == nil {
				sum, files = sum+st.Sys().(*syscall.Stat_t).Blocks*512, files+1
			}
		}
		return sum, files
	}
	before, files := size()
	f, err := filesystem.Stat(r.host.Rootfs, dir)
	disktest.Must(t, err)
	got, err := r.Reclaim(t.Context(), dir, filesystem.Goal{AvailBytes: f.SizeBytes}, nothingSeen(), false, time.Now(), nil)
	disktest.Must(t, err)
	for _, a := range got.Acts {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	after, left := size()
	t.Logf("%d KiB in %d files became %d KiB in %d", before>>10, files, after>>10, left)
	if len(got.Acts) == 0 || after >= before {
		t.Errorf("nothing was freed: %d bytes, then %d", before, after)
	}
	// What stays: the budget, at most one archived file more, and the active ones.
	if after > 2<<20+3*(8<<20) {
		t.Errorf("%d bytes are left", after)
	}
	_, err = fmt.Fprintf(conn, "MESSAGE=it goes on\n")
	disktest.Must(t, err)
	disktest.Run(t, "journalctl", "--namespace="+name, "--sync")
	disktest.Run(t, "journalctl", "--directory="+dir, "--verify")
	if out := disktest.Run(t, "journalctl", "--directory="+dir, "-n", "1", "-o", "cat"); !strings.Contains(out, "it goes on") {
		t.Errorf("the last message: %.100q", out)
	}
}
