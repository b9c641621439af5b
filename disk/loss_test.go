package disk

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

// The experiments take minutes at full size: make loss asks for it.
func scale(full int) int {
	if os.Getenv("NODETUNE_TEST_LOSS") == "full" {
		return full
	}
	return full / 10
}

// helper runs a test of this binary as a process of its own.
func helper(t testing.TB, name string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+name+"$", "-test.v=false")
	cmd.Env = append(append(os.Environ(), "NODETUNE_TEST_HELPER="+name), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

func isHelper(t *testing.T) bool {
	t.Helper()
	return os.Getenv("NODETUNE_TEST_HELPER") == t.Name()
}

func envInt(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return n
}

// TestHelperWriter is a daemon that writes numbered lines, one write(2) each.
// SIGHUP makes it open its log again, LATE milliseconds later; without REOPEN
// it never does. It ends after LINES lines, or at SIGTERM, and says how many
// lines it wrote.
func TestHelperWriter(t *testing.T) {
	if !isHelper(t) {
		return // it is started by other tests
	}
	file, lines, rate := os.Getenv("FILE"), envInt("LINES"), envInt("RATE")
	late := time.Duration(envInt("LATE")) * time.Millisecond
	open := func() int {
		fd, err := unix.Open(file, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o640)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	var again, stop atomic.Bool
	hup := make(chan os.Signal, 16)
	signal.Notify(hup, unix.SIGHUP, unix.SIGTERM)
	go func() {
		for s := range hup {
			if s == unix.SIGTERM {
				stop.Store(true)
				continue
			}
			if os.Getenv("REOPEN") != "" {
				time.Sleep(late)
				again.Store(true)
			}
		}
	}()
	fd := open()
	fmt.Fprintln(os.Stdout, "ready")
	line := []byte("0000000000 the quick brown fox jumps over the lazy dog, again!\n")
	if width := envInt("WIDTH"); width > 0 {
		line = []byte("0000000000 " + strings.Repeat("x", width-12) + "\n")
	}
	burst, pause := envInt("BURST"), time.Duration(envInt("PAUSE"))*time.Millisecond
	begin, parent := time.Now(), os.Getppid()
	n := 0
	for ; (lines == 0 || n < lines) && !stop.Load(); n++ {
		if burst > 0 && n > 0 && n%burst == 0 {
			next := begin.Add(time.Duration(n/burst) * pause)
			if late := time.Since(next); late > 0 { // after a standstill there is a pause, too
				begin, next = begin.Add(late+pause), next.Add(late+pause)
			}
			for ; time.Now().Before(next); time.Sleep(time.Millisecond) {
				if again.CompareAndSwap(true, false) {
					_ = unix.Close(fd)
					fd = open()
				}
			}
		}
		if again.CompareAndSwap(true, false) {
			_ = unix.Close(fd)
			fd = open()
		}
		if n%10_000 == 0 && os.Getppid() != parent { // the test was killed
			return
		}
		for i, v := 9, n; i >= 0; i, v = i-1, v/10 {
			line[i] = byte('0' + v%10)
		}
		if m, err := unix.Write(fd, line); err != nil || m != len(line) {
			t.Fatalf("write: %d, %v", m, err)
		}
		if rate > 0 && n%(rate/100) == 0 {
			ahead := time.Duration(n)*time.Second/time.Duration(rate) - time.Since(begin)
			if ahead < -50*time.Millisecond { // a standstill is not made up for
				begin = begin.Add(-ahead)
			}
			time.Sleep(ahead)
		}
	}
	fmt.Fprintf(os.Stdout, "lines %d\n", n)
}

// writer is a running TestHelperWriter.
type writer struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	done chan int // the number of lines
}

func startWriter(t testing.TB, file string, env ...string) *writer {
	t.Helper()
	cmd := helper(t, "TestHelperWriter", append(env, "FILE="+file)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &writer{cmd: cmd, out: bufio.NewReader(out), done: make(chan int, 1)}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if s, err := w.out.ReadString('\n'); s != "ready\n" {
		t.Fatalf("writer: %q, %v", s, err)
	}
	go func() {
		n := -1
		for {
			s, err := w.out.ReadString('\n')
			_, _ = fmt.Sscanf(s, "lines %d", &n)
			if err != nil {
				break
			}
		}
		_ = cmd.Wait()
		w.done <- n
	}()
	return w
}

// tally is what is left of numbered lines.
type tally struct{ lines, missing, duplicated, garbled int }

func (t tally) String() string {
	return fmt.Sprintf("%d lines: %d missing, %d duplicated, %d garbled", t.lines, t.missing, t.duplicated, t.garbled)
}

// count reads every form of the log in dir, the archives oldest first.
func count(t testing.TB, dir, base string, lines int) tally {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), base+".") && e.Name() != base {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	var all []io.Reader
	for _, n := range append(names, base) {
		f, err := os.Open(filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		switch filepath.Ext(n) {
		case ".gz":
			z, err := gzip.NewReader(f)
			if err != nil {
				t.Fatalf("%s: %v", n, err)
			}
			all = append(all, z)
		case ".zst":
			z, err := zstd.NewReader(f)
			if err != nil {
				t.Fatalf("%s: %v", n, err)
			}
			defer z.Close()
			all = append(all, z)
		default:
			all = append(all, f)
		}
	}
	return countLines(t, io.MultiReader(all...), lines)
}

func countLines(t testing.TB, from io.Reader, lines int) tally {
	t.Helper()
	seen := make([]uint8, lines)
	sum := tally{lines: lines}
	r := bufio.NewReaderSize(from, 1<<20)
	tail := []byte(" the quick brown fox jumps over the lazy dog, again!\n")
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			t.Fatal(err)
		}
		n := 0
		ok := len(line) == 10+len(tail) && bytes.Equal(line[10:], tail)
		for i := 0; ok && i < 10; i++ {
			c := line[i]
			ok = c >= '0' && c <= '9'
			n = n*10 + int(c-'0')
		}
		if !ok || n >= lines {
			sum.garbled++
			continue
		}
		if seen[n]++; seen[n] > 1 {
			sum.duplicated++
		}
	}
	for _, n := range seen {
		if n == 0 {
			sum.missing++
		}
	}
	return sum
}

func newRotator(t testing.TB, dir string) *Rotator {
	t.Helper()
	r, err := NewRotator("/proc", "/", []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// finish settles until nothing waits any more.
func finish(t testing.TB, r *Rotator, file string, how How) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s, err := r.Settle(context.Background(), file, how, time.Now())
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
		lines := scale(load.lines)
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
				if ours.missing+ours.duplicated+ours.garbled != 0 {
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

func lossOfNodetune(t *testing.T, every time.Duration, env []string, inPlace bool) (tally, int) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	w := startWriter(t, file, env...)
	how := How{Reopen: Reopen{PID: w.cmd.Process.Pid}, Compress: Gzip, InPlace: inPlace}
	r := newRotator(t, dir)
	rotations := 0
	for tick := time.NewTicker(every); ; {
		select {
		case n := <-w.done:
			tick.Stop()
			finish(t, r, file, how)
			return count(t, dir, "app.log", n), rotations
		case <-tick.C:
		}
		if _, err := r.Settle(t.Context(), file, how, time.Now()); err != nil {
			t.Error(err)
		}
		archive, err := r.Rotate(t.Context(), file, how, time.Now())
		var refusal *Refusal
		if err != nil && !errors.As(err, &refusal) && w.cmd.ProcessState == nil {
			t.Logf("rotate: %v", err)
		}
		if archive != "" {
			rotations++
		}
	}
}

func lossOfLogrotate(t *testing.T, every time.Duration, env []string, never bool) (tally, int) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	w := startWriter(t, file, env...)
	how := "copytruncate\n nocompress"
	if !never {
		how = fmt.Sprintf("create\n compress\n postrotate\n kill -HUP %d 2>/dev/null || true\n endscript", w.cmd.Process.Pid)
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
		case n := <-w.done:
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
func countNumbered(t testing.TB, dir, base string, lines int) tally {
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
	return countLines(t, io.MultiReader(readers...), lines)
}

// TestHelperRotator settles and rotates until it is killed.
func TestHelperRotator(t *testing.T) {
	if !isHelper(t) {
		return // it is started by TestLossKilled
	}
	file := os.Getenv("FILE")
	r := newRotator(t, filepath.Dir(file))
	how := How{Reopen: Reopen{PID: envInt("WRITER")}, Compress: Gzip, InPlace: os.Getenv("INPLACE") != ""}
	fmt.Fprintln(os.Stdout, "ready")
	for {
		// As Pass does: else one archive that takes longer to compress than this
		// lives keeps the log from being rotated for ever.
		_, _ = r.Rotate(context.Background(), file, how, time.Now())
		_, _ = r.Settle(context.Background(), file, how, time.Now())
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
			writer := startWriter(t, file, w.env...)
			env := []string{"FILE=" + file, fmt.Sprint("WRITER=", writer.cmd.Process.Pid)}
			how := How{Reopen: Reopen{PID: writer.cmd.Process.Pid}, Compress: Gzip}
			if w.env[0] != "REOPEN=1" {
				env, how.InPlace = append(env, "INPLACE=1"), true
			}
			rotated := func() int {
				archives, _ := filepath.Glob(filepath.Join(dir, "app.log.*"))
				return len(archives)
			}
			// A busy machine lets none of them come far in 60 ms.
			kills, life, before := 0, 60*time.Millisecond, 0
			for deadline := time.Now().Add(5 * time.Minute); kills < scale(170) || rotated() < 3 && time.Now().Before(deadline); kills++ {
				if kills%10 == 9 {
					if rotated() == before {
						life *= 2
					}
					before = rotated()
				}
				cmd := helper(t, "TestHelperRotator", env...)
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
			// Whoever was killed before it asked, its successor asks.
			r := newRotator(t, dir)
			finish(t, r, file, how)
			_ = writer.cmd.Process.Signal(unix.SIGTERM)
			n := <-writer.done
			finish(t, r, file, how)
			got := count(t, dir, "app.log", n)
			t.Logf("%v, %d kills", got, kills)
			if got.missing+got.duplicated+got.garbled != 0 {
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
