package rotate

import (
	"bufio"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
)

// The processes that other tests of this package start.

func TestHelperWriter(t *testing.T) { disktest.RunWriter(t) }

func TestHelperReader(t *testing.T) { disktest.RunReader(t) }

// TestHelperDaemon is a daemon with several logs, FILES. SIGHUP makes it open them again,
// unless IGNORE is set. It prints a line for each SIGHUP that it got, and ends at SIGUSR1.
func TestHelperDaemon(t *testing.T) {
	if !disktest.IsHelper(t) {
		return // it is started by other tests
	}
	got := make(chan os.Signal, 64)
	signal.Notify(got, unix.SIGHUP, unix.SIGUSR1)
	var open []*os.File
	reopen := func() {
		for _, f := range open {
			_ = f.Close()
		}
		open = open[:0]
		for name := range strings.SplitSeq(os.Getenv("FILES"), ":") {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
			disktest.Must(t, err)
			_, err = f.WriteString("a line\n")
			disktest.Must(t, err)
			open = append(open, f)
		}
	}
	reopen()
	_, _ = os.Stdout.WriteString("ready\n")
	for sig := range got {
		if sig == unix.SIGUSR1 {
			return
		}
		if os.Getenv("IGNORE") == "" {
			reopen()
		}
		_, _ = os.Stdout.WriteString("HUP\n")
	}
}

// daemon is a running TestHelperDaemon.
type daemon struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func startDaemon(t *testing.T, files []string, env ...string) daemon {
	t.Helper()
	cmd := disktest.Helper(t, "TestHelperDaemon", append(env, "FILES="+strings.Join(files, ":"))...)
	out, err := cmd.StdoutPipe()
	disktest.Must(t, err)
	disktest.Must(t, cmd.Start())
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	d := daemon{cmd, bufio.NewScanner(out)}
	if !d.out.Scan() || d.out.Text() != "ready" {
		t.Fatalf("daemon: %q, %v", d.out.Text(), d.out.Err())
	}
	return d
}

// hangups ends the daemon and returns how many signals it printed until then.
func (d daemon) hangups(t *testing.T) (n int) {
	t.Helper()
	disktest.Must(t, d.cmd.Process.Signal(unix.SIGUSR1)) // SIGHUP has a lower number, and comes first
	for d.out.Scan() {
		if d.out.Text() == "HUP" {
			n++
		}
	}
	return n
}
