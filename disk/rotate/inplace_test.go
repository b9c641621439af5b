package rotate

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
)

func noReader(int64) error { return nil }

// The copy that chases a writer meets its writes half done, here very often,
// since every line has some pages. What is copied ends with a line all the same.
func TestChaseCopiesWholeLines(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	line := append(bytes.Repeat([]byte("x"), 40_000), '\n')
	var stop atomic.Bool
	var writer sync.WaitGroup
	defer writer.Wait()
	defer stop.Store(true)
	w, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	disktest.Must(t, err)
	disktest.Must(t, unix.Fchmod(int(w.Fd()), 0o6640))
	writer.Go(func() {
		defer w.Close()
		for !stop.Load() {
			begin := time.Now()
			if _, err := w.Write(line); err != nil {
				t.Error(err)
				return
			}
			// Slower than the copy, or that would never come to an end.
			time.Sleep(2 * time.Since(begin))
		}
	})
	live, err := os.OpenFile(file, os.O_RDWR, 0)
	disktest.Must(t, err)
	defer live.Close()
	lines := 0
	for copies := 0; copies < 500 || lines == 0; copies++ {
		dst, err := os.Create(filepath.Join(dir, "copy"))
		disktest.Must(t, err)
		disktest.Must(t, copyUntilCaughtUp(t.Context(), dst, live, 0, 1<<40, noReader))
		disktest.Must(t, dst.Close())
		for got := disktest.ReadFile(t, dst.Name()); got != ""; got = got[len(line):] {
			if len(got) < len(line) || got[:len(line)] != string(line) {
				t.Fatalf("copy %d ends with %d bytes of a line", copies, min(len(got), len(line)))
			}
			lines++
		}
	}
	t.Logf("%d lines, none broken", lines)
	var st unix.Stat_t
	disktest.Must(t, unix.Fstat(int(live.Fd()), &st))
	if os.Geteuid() == 0 && st.Mode&0o7777 != 0o6640 { // a write by anyone else takes the bits
		t.Errorf("the log's mode is %o now", st.Mode&0o7777)
	}
}

// A copy that goes too far is given up, and the log keeps what it has.
func TestChaseEnds(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	disktest.Must(t, os.WriteFile(file, disktest.NumberedLines(50_000), 0o600))
	live, err := os.OpenFile(file, os.O_RDWR, 0)
	disktest.Must(t, err)
	defer live.Close()
	dst, err := os.Create(filepath.Join(dir, "copy"))
	disktest.Must(t, err)
	defer dst.Close()
	err = copyUntilCaughtUp(t.Context(), dst, live, 0, 1<<20, noReader)
	if refusal := (*logdir.SkippedError)(nil); !errors.As(err, &refusal) {
		t.Errorf("chase: %v", err)
	}
	if disktest.ReadFile(t, file) != string(disktest.NumberedLines(50_000)) {
		t.Error("the log lost lines")
	}
}
