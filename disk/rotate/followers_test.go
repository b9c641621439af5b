package rotate

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// A real tail -F and a real rsyslog imfile receive every line of a writer of
// bursts, through rotations that wait for them. Each is between two bursts: tail
// leaves a file at once, and in a burst that the scheduler interrupts it would miss
// the rest.
func TestFollowersForReal(t *testing.T) {
	privtest.Root(t)
	const burst = 5000 // lines, some 20 ms of each second
	for _, name := range []string{"tail", "rsyslog"} {
		t.Run(name, func(t *testing.T) {
			dir, out := t.TempDir(), t.TempDir()
			file, got := filepath.Join(dir, "app.log"), filepath.Join(out, "got")
			disktest.WriteFile(t, file, "")
			disktest.WriteFile(t, got, "")
			var follower *exec.Cmd
			if name == "tail" {
				f, err := os.OpenFile(got, os.O_WRONLY|os.O_APPEND, 0)
				disktest.Must(t, err)
				follower = exec.Command("tail", "-n", "+1", "-F", file)
				follower.Stdout = f
				disktest.Must(t, follower.Start())
				t.Cleanup(func() { _ = follower.Process.Kill(); _ = follower.Wait(); f.Close() })
			} else {
				conf := filepath.Join(out, "conf")
				disktest.WriteFile(t, conf, fmt.Sprintf(`global(workDirectory=%q)
module(load="imfile" mode="inotify")
template(name="raw" type="string" string="%%msg%%\n")
input(type="imfile" File=%q Tag="x" ruleset="r" reopenOnTruncate="on")
ruleset(name="r") { action(type="omfile" file=%q template="raw") }
`, out, file, got))
				follower = disktest.Start(t, "rsyslogd", "-n", "-i", filepath.Join(out, "pid"), "-f", conf)
			}
			// The first line is there before anything is rotated.
			w := disktest.StartWriter(t, file, "REOPEN=1", fmt.Sprint("BURST=", burst), "PAUSE=1000")
			disktest.WaitUntil(t, "the first line", func() bool { return bytes.Count([]byte(disktest.ReadFile(t, got)), []byte("\n")) > 0 })
			r := newRotator(t, dir)
			how := Options{Reopen: Reopen{PID: w.Cmd.Process.Pid}, Compress: archive.Gzip, Grace: time.Second}
			rotations := 0
			for range 6 {
				// The test rotates only after the followers have opened the last new file.
				disktest.WaitUntil(t, "a burst in the new file and its follower", func() bool {
					st, err := os.Stat(file)
					return err == nil && st.Size() > 0 && disktest.HasOpen(follower.Process.Pid, st) &&
						bytes.Count([]byte(disktest.ReadFile(t, file)), []byte("\n"))%burst == 0
				})
				if archiveName, err := r.Rotate(t.Context(), file, how, time.Now()); err != nil {
					t.Log(err)
				} else if archiveName != "" {
					rotations++
				}
				if _, err := r.FinishRotation(t.Context(), file, how, time.Now()); err != nil {
					t.Error(err)
				}
			}
			_ = w.Cmd.Process.Signal(unix.SIGTERM)
			lines := <-w.Done
			disktest.WaitUntil(t, "every line", func() bool { return bytes.Count([]byte(disktest.ReadFile(t, got)), []byte("\n")) >= lines })
			f, err := os.Open(got)
			disktest.Must(t, err)
			defer f.Close()
			sum := disktest.CountLines(t, f, lines)
			t.Logf("%v, %d rotations", sum, rotations)
			if sum.Missing+sum.Garbled+sum.Duplicated != 0 || rotations < 5 {
				t.Errorf("%v", sum)
			}
		})
	}
}
