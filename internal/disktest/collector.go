package disktest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// RunCollector is the body of TestHelperCollector, which follows FILE as Fluent Bit does: it reads at most SPEED
// bytes a second, sees that the file was replaced by its inode, and gives up on
// a rotated file WAIT milliseconds later, whatever is unread. At SIGTERM it
// says how many different lines of LINES it got.
func RunCollector(t *testing.T) {
	t.Helper()
	if !IsHelper(t) {
		return // it is started by other tests
	}
	type followed struct {
		f    *os.File
		ino  uint64
		gone time.Time // when it was seen to be rotated
		line []byte    // begun
	}
	file, wait := os.Getenv("FILE"), time.Duration(EnvInt("WAIT"))*time.Millisecond
	seen, got, doubled := make([]bool, EnvInt("LINES")), 0, 0
	term := make(chan os.Signal, 1)
	signal.Notify(term, unix.SIGTERM)
	const tick = 10 * time.Millisecond
	buf := make([]byte, EnvInt("SPEED")/int(time.Second/tick))
	var open []*followed
	fmt.Fprintln(os.Stdout, "ready")
	last := time.Now()
	for {
		select {
		case <-term:
			fmt.Fprintf(os.Stdout, "lines %d doubled %d\n", got, doubled)
			return
		default:
		}
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err == nil && !slices.ContainsFunc(open, func(x *followed) bool { return x.ino == st.Ino }) {
			for _, x := range open {
				if x.gone.IsZero() {
					x.gone = time.Now()
				}
			}
			f, err := os.Open(file)
			if err == nil {
				Must(t, unix.Fstat(int(f.Fd()), &st))
				open = append(open, &followed{f: f, ino: st.Ino})
			}
		}
		budget := int(float64(len(buf)) * min(float64(time.Since(last))/float64(tick), 10))
		last = time.Now()
		open = slices.DeleteFunc(open, func(x *followed) bool {
			for budget > 0 {
				n, err := x.f.Read(buf[:min(budget, len(buf))])
				budget -= n
				x.line = append(x.line, buf[:n]...)
				for {
					line, rest, ok := bytes.Cut(x.line, []byte("\n"))
					if !ok {
						break
					}
					k := 0
					for _, c := range line[:10] {
						if k = k*10 + int(c-'0'); c < '0' || c > '9' {
							t.Fatalf("a line that the writer did not write: %q", line)
						}
					}
					if seen[k] {
						doubled++
					} else {
						seen[k] = true
						got++
					}
					x.line = rest
				}
				if n == 0 || err != nil {
					break
				}
			}
			if !x.gone.IsZero() && time.Since(x.gone) > wait {
				_ = x.f.Close()
				return true
			}
			return false
		})
		time.Sleep(tick)
	}
}

// Collect starts a TestHelperCollector; the returned function ends it and
// returns what it got.
func Collect(t testing.TB, file string, lines, speed int, wait time.Duration) func() (got, doubled int) {
	t.Helper()
	cmd := Helper(t, "TestHelperCollector", "FILE="+file, fmt.Sprint("LINES=", lines), fmt.Sprint("SPEED=", speed), fmt.Sprint("WAIT=", wait.Milliseconds()))
	out, err := cmd.StdoutPipe()
	Must(t, err)
	Must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	r := bufio.NewReader(out)
	if s, err := r.ReadString('\n'); s != "ready\n" {
		t.Fatalf("collector: %q, %v", s, err)
	}
	return func() (got, doubled int) {
		_ = cmd.Process.Signal(unix.SIGTERM)
		s, _ := r.ReadString('\n')
		if _, err := fmt.Sscanf(s, "lines %d doubled %d", &got, &doubled); err != nil {
			t.Errorf("collector: %q", s)
		}
		_ = cmd.Wait()
		return got, doubled
	}
}
