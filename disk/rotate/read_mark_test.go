package rotate

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/internal/disktest"
)

// An archive of a host's log whose reader had not come to its end stays beyond the
// number that is kept, until the disk is short, and its bytes count as unread. One
// whose reader came to its end after the rotation goes as all others.
func TestUnreadArchivesOfHostLogs(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	const size = 3 << 20
	disktest.WriteFile(t, file, strings.Repeat("x", size))
	stuck, _ := tailPipe(t, file)
	slow, rest := tailPipe(t, file)

	r := newRotator(t, dir)
	unread := rotate(t, r, file, Options{Force: true}, disktest.Noon)
	marked := func() bool {
		f, err := os.Open(unread)
		if err != nil {
			return false
		}
		defer func() { _ = f.Close() }()
		return archive.IsUnread(f)
	}
	how := Options{Archives: 1, Compress: archive.None}
	finish := func(how Options) (removed int, lost uint64) {
		t.Helper()
		s, err := r.FinishRotation(t.Context(), file, how, disktest.Noon.Add(time.Hour))
		disktest.Must(t, err)
		for _, a := range s.Actions(file) {
			removed++
			lost += a.Unread
		}
		return removed, lost
	}
	_, err := io.CopyN(io.Discard, rest, size)
	disktest.Must(t, err)
	if n, _ := finish(how); n != 0 || !marked() {
		t.Fatalf("%d acts, marked: %v; one of two readers is not at the end", n, marked())
	}
	disktest.Must(t, stuck.Process.Kill())
	_ = stuck.Wait()
	for i := range 3 {
		disktest.WriteFile(t, file, "a line\n")
		rotate(t, r, file, Options{}, disktest.Noon.Add(time.Duration(i+1)*time.Second))
	}

	t.Run("read", func(t *testing.T) { // by the reader that still has it
		if n, lost := finish(how); n != 2 || lost != 0 || marked() {
			t.Errorf("%d archives are removed with %d bytes unread, marked: %v", n, lost, marked())
		}
		f, err := os.OpenFile(unread, os.O_RDWR, 0)
		disktest.Must(t, err)
		archive.SetUnread(f, true)
		disktest.Must(t, f.Close())
	})
	t.Run("unread", func(t *testing.T) {
		disktest.Must(t, slow.Process.Kill())
		_ = slow.Wait()
		if n, _ := finish(how); n != 0 || !marked() {
			t.Errorf("%d archives are removed, marked: %v", n, marked())
		}
		if n, lost := finish(Options{Archives: 1, LoseUnread: true, Compress: archive.None}); n != 1 || lost != size {
			t.Errorf("with a short disk, %d archives are removed with %d bytes unread", n, lost)
		}
	})
}

// tailPipe starts a tail -f that writes the file from its beginning into a pipe.
func tailPipe(t *testing.T, file string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command("tail", "-c", "+1", "-f", file)
	out, err := cmd.StdoutPipe()
	disktest.Must(t, err)
	disktest.Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	first := make([]byte, 1)
	_, err = io.ReadFull(out, first)
	disktest.Must(t, err)
	return cmd, io.MultiReader(bytes.NewReader(first), out)
}

// The age of an archive whose name has a time to come is that of its file.
func TestKeepForOfTheFuture(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	r := newRotator(t, dir)
	ahead := time.Now().Add(24 * 365 * time.Hour) // of a clock that was wrong
	var names []string
	for i := range 3 {
		disktest.WriteFile(t, file, "a line\n")
		names = append(names, rotate(t, r, file, Options{}, ahead.Add(time.Duration(i)*time.Second)))
	}
	how := Options{KeepFor: time.Hour, Compress: archive.None}
	for _, c := range []struct {
		after   time.Duration
		removed int
	}{{time.Minute, 0}, {2 * time.Hour, 2}} {
		s, err := r.FinishRotation(t.Context(), file, how, time.Now().Add(c.after))
		if err != nil || len(s.Removed) != c.removed {
			t.Errorf("after %s: %+v, %v", c.after, s, err)
		}
	}
	if _, err := os.Stat(names[2]); err != nil {
		t.Errorf("the last archive: %v", err)
	}
}
