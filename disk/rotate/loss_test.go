package rotate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

func newRotator(t testing.TB, dir string) *Rotator {
	t.Helper()
	r, err := New("/proc", "/", []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// finish settles until nothing waits any more.
func finish(t testing.TB, r *Rotator, file string, how Options) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s, err := r.FinishRotation(context.Background(), file, how, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if s.Waiting == 0 && len(s.Repaired) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still waiting: %+v", s)
		}
	}
}

// The experiment: a writer, and a rotation every so often. Debian's logrotate
// does the same with its own means in the same run.
func TestLoss(t *testing.T) {
	privtest.Root(t)
	for _, load := range []struct {
		name  string
		lines int
		rate  int
		every time.Duration
	}{
		{"full speed", 5_000_000, 0, 300 * time.Millisecond},
		{"100k per second", 1_000_000, 100_000, time.Second},
		{"10k per second", 100_000, 10_000, time.Second},
	} {
		lines := disktest.Scale(load.lines)
		every := load.every
		if lines != load.lines {
			every /= 5
		}
		for _, w := range []struct {
			name string
			env  []string
		}{
			{"reopens at once", []string{"REOPEN=1"}},
			{"reopens 200 ms late", []string{"REOPEN=1", "LATE=200"}},
			{"never reopens", nil},
		} {
			t.Run(load.name+", "+w.name, func(t *testing.T) {
				env := append(slices.Clone(w.env), fmt.Sprint("LINES=", lines), fmt.Sprint("RATE=", load.rate))
				ours, n := lossOfNodetune(t, every, env, w.env == nil)
				t.Logf("nodetune:  %v, %d rotations", ours, n)
				if ours.Missing+ours.Duplicated+ours.Garbled != 0 {
					t.Errorf("nodetune lost: %v", ours)
				}
				if n == 0 {
					t.Error("no rotation took place")
				}
				theirs, n := lossOfLogrotate(t, every, env, w.env == nil)
				t.Logf("logrotate: %v, %d rotations", theirs, n)
			})
		}
	}
}

func lossOfNodetune(t *testing.T, every time.Duration, env []string, inPlace bool) (disktest.Tally, int) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	w := disktest.StartWriter(t, file, env...)
	how := Options{Reopen: Reopen{PID: w.Cmd.Process.Pid}, Compress: archive.Gzip, InPlace: inPlace}
	r := newRotator(t, dir)
	rotations := 0
	for tick := time.NewTicker(every); ; {
		select {
		case n := <-w.Done:
			tick.Stop()
			finish(t, r, file, how)
			return disktest.Count(t, dir, "app.log", n), rotations
		case <-tick.C:
		}
		if _, err := r.FinishRotation(t.Context(), file, how, time.Now()); err != nil {
			t.Error(err)
		}
		archiveName, err := r.Rotate(t.Context(), file, how, time.Now())
		var refusal *logdir.SkippedError
		if err != nil && !errors.As(err, &refusal) && w.Cmd.ProcessState == nil {
			t.Logf("rotate: %v", err)
		}
		if archiveName != "" {
			rotations++
		}
	}
}

func lossOfLogrotate(t *testing.T, every time.Duration, env []string, never bool) (disktest.Tally, int) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	w := disktest.StartWriter(t, file, env...)
	how := "copytruncate\n nocompress"
	if !never {
		how = fmt.Sprintf("create\n compress\n postrotate\n kill -HUP %d 2>/dev/null || true\n endscript", w.Cmd.Process.Pid)
	}
	conf := filepath.Join(t.TempDir(), "conf")
	body := fmt.Sprintf("%s {\n rotate 1000\n dateext\n dateformat .%%s%%N\n size 1\n %s\n}\n", file, how)
	// %N is not known to dateformat, so archives are numbered instead.
	body = strings.Replace(body, " dateext\n dateformat .%s%N\n", "", 1)
	if err := os.WriteFile(conf, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	rotations := 0
	for tick := time.NewTicker(every); ; {
		select {
		case n := <-w.Done:
			tick.Stop()
			return countNumbered(t, dir, "app.log", n), rotations
		case <-tick.C:
		}
		out, err := exec.Command("logrotate", "-f", "-s", conf+".state", conf).CombinedOutput()
		if err != nil && rotations == 0 {
			t.Fatalf("logrotate: %v: %s", err, out)
		}
		rotations++
	}
}

// countNumbered reads app.log.N … app.log.1, app.log.
func countNumbered(t testing.TB, dir, base string, lines int) disktest.Tally {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	type numbered struct {
		n    int
		name string
	}
	var all []numbered
	for _, e := range entries {
		var n int
		if _, err := fmt.Sscanf(e.Name(), base+".%d", &n); err == nil {
			all = append(all, numbered{n, e.Name()})
		}
	}
	slices.SortFunc(all, func(a, b numbered) int { return b.n - a.n })
	var readers []io.Reader
	for _, x := range append(all, numbered{0, base}) {
		f, err := os.Open(filepath.Join(dir, x.name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if strings.HasSuffix(x.name, ".gz") {
			z, err := gzip.NewReader(f)
			if err != nil {
				t.Fatal(err)
			}
			readers = append(readers, z)
		} else {
			readers = append(readers, f)
		}
	}
	return disktest.CountLines(t, io.MultiReader(readers...), lines)
}

// TestHelperRotator settles and rotates until it is killed.
func TestHelperRotator(t *testing.T) {
	if !disktest.IsHelper(t) {
		return // it is started by TestLossKilled
	}
	file := os.Getenv("FILE")
	r := newRotator(t, filepath.Dir(file))
	how := Options{Reopen: Reopen{PID: disktest.EnvInt("WRITER")}, Compress: archive.Gzip, InPlace: os.Getenv("INPLACE") != ""}
	fmt.Fprintln(os.Stdout, "ready")
	for {
		// As Pass does: else one archive that takes longer to compress than this
		// lives keeps the log from being rotated for ever.
		_, _ = r.Rotate(context.Background(), file, how, time.Now())
		_, _ = r.FinishRotation(context.Background(), file, how, time.Now())
	}
}

// Killed again and again in the middle of it, nodetune loses nothing either.
func TestLossKilled(t *testing.T) {
	privtest.Root(t)
	for _, w := range []struct {
		name string
		env  []string
	}{
		{"reopens at once", []string{"REOPEN=1", "RATE=200000"}},
		{"reopens 20 ms late", []string{"REOPEN=1", "LATE=20", "RATE=200000"}},
		{"never reopens", []string{"RATE=50000"}},
	} {
		t.Run(w.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "app.log")
			writer := disktest.StartWriter(t, file, w.env...)
			env := []string{"FILE=" + file, fmt.Sprint("WRITER=", writer.Cmd.Process.Pid)}
			how := Options{Reopen: Reopen{PID: writer.Cmd.Process.Pid}, Compress: archive.Gzip}
			if w.env[0] != "REOPEN=1" {
				env, how.InPlace = append(env, "INPLACE=1"), true
			}
			rotated := func() int {
				archives, _ := filepath.Glob(filepath.Join(dir, "app.log.*"))
				return len(archives)
			}
			// A busy machine lets none of them come far in 60 ms.
			kills, life, before := 0, 60*time.Millisecond, 0
			for deadline := time.Now().Add(5 * time.Minute); kills < disktest.Scale(170) || rotated() < 3 && time.Now().Before(deadline); kills++ {
				if kills%10 == 9 {
					if rotated() == before {
						life *= 2
					}
					before = rotated()
				}
				cmd := disktest.Helper(t, "TestHelperRotator", env...)
				out, err := cmd.StdoutPipe()
				if err == nil {
					err = cmd.Start()
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				time.Sleep(rand.N(life))
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
			// Where a run was killed before it asked, the next run asks.
			r := newRotator(t, dir)
			finish(t, r, file, how)
			_ = writer.Cmd.Process.Signal(unix.SIGTERM)
			n := <-writer.Done
			finish(t, r, file, how)
			got := disktest.Count(t, dir, "app.log", n)
			t.Logf("%v, %d kills", got, kills)
			if got.Missing+got.Duplicated+got.Garbled != 0 {
				t.Error("lost")
			}
			left, err := filepath.Glob(filepath.Join(dir, ".*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if n := rotated(); n < 3 {
				t.Errorf("%d archives: hardly anything was rotated", n)
			}
		})
	}
}
