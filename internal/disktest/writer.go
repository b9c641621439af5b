package disktest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Writer is a running TestHelperWriter.
type Writer struct {
	Cmd  *exec.Cmd
	out  *bufio.Reader
	Done chan int // the number of lines
}

// StartWriter starts TestHelperWriter on file and waits until it is ready. env is
// added to the environment of the writer.
func StartWriter(t testing.TB, file string, env ...string) *Writer {
	t.Helper()
	cmd := Helper(t, "TestHelperWriter", append(env, "FILE="+file)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &Writer{Cmd: cmd, out: bufio.NewReader(out), Done: make(chan int, 1)}
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
		w.Done <- n
	}()
	return w
}

// Tally is what is left of numbered lines.
type Tally struct{ lines, Missing, Duplicated, Garbled int }

func (t Tally) String() string {
	return fmt.Sprintf("%d lines: %d missing, %d duplicated, %d garbled", t.lines, t.Missing, t.Duplicated, t.Garbled)
}

// Count reads every form of the log in dir, the archives oldest first.
func Count(t testing.TB, dir, base string, lines int) Tally {
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
		defer func() { _ = f.Close() }()
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
	return CountLines(t, io.MultiReader(all...), lines)
}

// CountLines reads the numbered lines in from, and compares them with the lines that
// were written.
func CountLines(t testing.TB, from io.Reader, lines int) Tally {
	t.Helper()
	seen := make([]uint8, lines)
	sum := Tally{lines: lines}
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
			sum.Garbled++
			continue
		}
		if seen[n]++; seen[n] > 1 {
			sum.Duplicated++
		}
	}
	for _, n := range seen {
		if n == 0 {
			sum.Missing++
		}
	}
	return sum
}

// RunWriter is the body of TestHelperWriter, which each package has that starts
// one: a daemon that writes numbered lines, one write(2) each.
// SIGHUP makes it open its log again, LATE milliseconds later; without REOPEN
// it never does. It ends after LINES lines, or at SIGTERM, and says how many
// lines it wrote.
func RunWriter(t *testing.T) {
	t.Helper()
	if !IsHelper(t) {
		return // it is started by other tests
	}
	file, lines, rate := os.Getenv("FILE"), EnvInt("LINES"), EnvInt("RATE")
	late := time.Duration(EnvInt("LATE")) * time.Millisecond
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
	if width := EnvInt("WIDTH"); width > 0 {
		line = []byte("0000000000 " + strings.Repeat("x", width-12) + "\n")
	}
	burst, pause := EnvInt("BURST"), time.Duration(EnvInt("PAUSE"))*time.Millisecond
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

// RunReader is the body of TestHelperReader: it opens FILE, reads READ bytes of it, or 1 MiB, and stays. At
// SIGUSR1 it reads the rest, says its checksum, and ends.
func RunReader(t *testing.T) {
	t.Helper()
	if !IsHelper(t) {
		return // it is started by other tests
	}
	f, err := os.Open(os.Getenv("FILE"))
	Must(t, err)
	rest := make(chan os.Signal, 1)
	signal.Notify(rest, unix.SIGUSR1)
	n := EnvInt("READ")
	if n == 0 {
		n = 1 << 20
	}
	_, err = io.CopyN(io.Discard, f, int64(n))
	Must(t, err)
	fmt.Fprintln(os.Stdout, "ready")
	<-rest
	h := sha256.New()
	_, err = io.Copy(h, f)
	Must(t, err)
	fmt.Fprintf(os.Stdout, "%x\n", h.Sum(nil))
}
