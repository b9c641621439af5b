package rotate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// offsetOf returns how far a process has read the file.
func offsetOf(pid int, file string) (at int64, ok bool) {
	st, err := os.Stat(file)
	if err != nil {
		return 0, false
	}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range fds {
		if is, err := os.Stat(fd); err != nil || !os.SameFile(is, st) {
			continue
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, filepath.Base(fd)))
		if _, scan := fmt.Sscanf(string(b), "pos: %d", &at); err == nil && scan == nil {
			return at, true
		}
	}
	return 0, false
}

// A log is rotated in place behind a real tail -F, which polls: what it has not read
// stays in the log, so it misses no line, and reads less than a block twice.
func TestLossInPlaceBehindTail(t *testing.T) {
	privtest.Root(t)
	lines, least := disktest.Scale(40_000), int64(disktest.Scale(1<<20))
	for _, fs := range []string{"ext4", "tmpfs"} {
		t.Run(fs, func(t *testing.T) {
			dir, out := t.TempDir(), t.TempDir()
			mounted := filepath.Join(dir, "logs")
			if fs == "ext4" {
				disktest.Ext4(t, mounted, 64<<20)
			} else {
				disktest.Must(t, os.MkdirAll(mounted, 0o755))
				disktest.Must(t, unix.Mount("tmpfs", mounted, "tmpfs", 0, "size=64m,mode=755"))
				t.Cleanup(func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) })
			}
			disktest.Must(t, os.Chmod(mounted, 0o755))
			file, got := filepath.Join(mounted, "app.log"), filepath.Join(out, "got")
			disktest.WriteFile(t, file, "")
			f, err := os.Create(got)
			disktest.Must(t, err)
			defer f.Close()
			tail := exec.Command("tail", "-n", "+1", "-F", "-s", "0.3", "---disable-inotify", file)
			tail.Stdout = f
			disktest.Must(t, tail.Start())
			t.Cleanup(func() { _ = tail.Process.Kill(); _ = tail.Wait() })
			disktest.WaitUntil(t, "tail", func() bool { _, ok := offsetOf(tail.Process.Pid, file); return ok })
			w := disktest.StartWriter(t, file, fmt.Sprint("LINES=", lines), "RATE=2000")
			r := newRotator(t, dir)
			rotations, waited, total := 0, 0, -1
			for total < 0 {
				select {
				case total = <-w.Done:
				case <-time.After(10 * time.Millisecond):
				}
				if st, err := os.Stat(file); err != nil || st.Size() < least || total >= 0 {
					continue
				}
				archived, err := r.Rotate(t.Context(), file, Options{InPlace: true, Compress: archive.None}, time.Now())
				lag, skipped := (*ReaderLagError)(nil), (*logdir.SkippedError)(nil)
				switch {
				case errors.As(err, &lag), errors.As(err, &skipped): // not at the end, or not far enough
					waited++
				case err != nil:
					t.Error(err)
				case archived != "":
					rotations++
					// A reader sees a truncation only while the log is shorter than what
					// it has read. On a busy machine the writer waits for its next look.
					_ = w.Cmd.Process.Signal(unix.SIGSTOP)
					disktest.WaitUntil(t, "tail at its next look", func() bool {
						st, err := os.Stat(file)
						at, ok := offsetOf(tail.Process.Pid, file)
						return err == nil && ok && at == st.Size()
					})
					_ = w.Cmd.Process.Signal(unix.SIGCONT)
				}
			}
			st, err := os.Stat(file)
			disktest.Must(t, err)
			disktest.WaitUntil(t, "the rest", func() bool { at, _ := offsetOf(tail.Process.Pid, file); return at == st.Size() })
			text, err := os.ReadFile(got)
			disktest.Must(t, err)
			sum, whole := disktest.CountLines(t, bytes.NewReader(text), total), countAll(t, file, total)
			t.Logf("%d rotations, %d times tail was waited for; tail: %v; archives and log: %v", rotations, waited, sum, whole)
			if rotations == 0 {
				t.Error("it was never rotated")
			}
			if fs == "tmpfs" { // what is written between the last look and the truncation is lost
				if most := rotations * 10; sum.Missing > most || sum.Garbled > rotations {
					t.Errorf("tail: %v", sum)
				}
				return
			}
			const perBlock = 4096/64 + 1
			if sum.Missing != 0 || sum.Duplicated > rotations*perBlock || sum.Garbled > rotations {
				t.Errorf("tail: %v", sum)
			}
			if whole.Missing+whole.Duplicated+whole.Garbled != 0 {
				t.Errorf("archives and log: %v", whole)
			}
		})
	}
}

// countAll counts the lines of the archives of a log, and of the log, one after the other.
func countAll(t *testing.T, file string, lines int) disktest.Tally {
	t.Helper()
	names, err := filepath.Glob(file + ".*") // they sort by time
	disktest.Must(t, err)
	var all []io.Reader
	for _, n := range append(names, file) {
		all = append(all, strings.NewReader(disktest.ReadFile(t, n)))
	}
	return disktest.CountLines(t, io.MultiReader(all...), lines)
}

// Where a log is cut for each place in which its reader is.
func TestCutAtReader(t *testing.T) {
	privtest.Root(t)
	mounted := filepath.Join(t.TempDir(), "ext4")
	disktest.Ext4(t, mounted, 64<<20)
	var fs unix.Statfs_t
	disktest.Must(t, unix.Statfs(mounted, &fs))
	block := fs.Bsize
	size := 40*block + 100
	for name, c := range map[string]struct {
		offsets []int64 // of its readers
		force   bool
		archive int64 // size of it; 0: the reader is waited for
	}{
		"no reader":                     {archive: 40 * block},
		"at the end":                    {offsets: []int64{size}, archive: 40 * block},
		"in the last block":             {offsets: []int64{40*block + 1}, archive: 40 * block},
		"some blocks behind":            {offsets: []int64{36*block + 5}, archive: 36 * block},
		"at the beginning of a block":   {offsets: []int64{36 * block}, archive: 36 * block},
		"two, the slowest counts":       {offsets: []int64{size, 35*block - 1}, archive: 34 * block},
		"what is left is half of it":    {offsets: []int64{27 * block}, archive: 27 * block},
		"it would not see the cut":      {offsets: []int64{26 * block}},
		"it has read one byte":          {offsets: []int64{1}},
		"the same with force":           {offsets: []int64{1}, force: true, archive: 40 * block},
		"some blocks behind with force": {offsets: []int64{36*block + 5}, force: true, archive: 36 * block},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(mounted, strings.ReplaceAll(name, " ", "-"))
			disktest.Must(t, os.Mkdir(dir, 0o755))
			file := filepath.Join(dir, "app.log")
			text := string(disktest.NumberedLines(int(size/64) + 1)[:size])
			disktest.WriteFile(t, file, text)
			for _, at := range c.offsets {
				reader, end := disktest.HoldOpen(t, file)
				defer end()
				_, err := reader.Seek(at, io.SeekStart)
				disktest.Must(t, err)
				_ = reader.Close() // the process keeps it
			}
			archived, err := newRotator(t, dir).Rotate(t.Context(), file, Options{InPlace: true, Compress: archive.None, Force: c.force}, time.Now())
			lag := (*ReaderLagError)(nil)
			if c.archive == 0 {
				if !errors.As(err, &lag) || disktest.ReadFile(t, file) != text || len(disktest.List(t, dir)) != 1 {
					t.Errorf("%v; %v", err, disktest.List(t, dir))
				}
				return
			}
			disktest.Must(t, err)
			if got := disktest.ReadFile(t, archived); int64(len(got)) != c.archive || got+disktest.ReadFile(t, file) != text {
				t.Errorf("an archive of %d bytes, want %d", len(got), c.archive)
			}
		})
	}
}
