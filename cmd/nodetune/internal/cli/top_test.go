package cli

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/privtest"
)

// terminalSession is nodetune in a real terminal.
type terminalSession struct {
	t      *testing.T
	socket string
}

// inTerminal runs a shell command in a terminal of 80 columns and 24 lines,
// with nodetune in its PATH.
func inTerminal(t *testing.T, command string) terminalSession {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(exe, filepath.Join(bin, "nodetune")); err != nil { // see TestMain
		t.Fatal(err)
	}
	s := terminalSession{t, filepath.Join(t.TempDir(), "tmux")}
	s.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "env", "PATH="+bin+":"+os.Getenv("PATH"), "sh", "-c", command)
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", s.socket, "kill-server").Run() }) // it may have ended
	return s
}

func (s terminalSession) tmux(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8", "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (s terminalSession) press(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys"}, keys...)...)
}

// see waits until the screen is as wanted, and returns it.
func (s terminalSession) see(what string, wanted func(screen string) bool) string {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		screen := s.tmux("capture-pane", "-p")
		if wanted(screen) {
			return screen
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("never saw %s:\n%s", what, screen)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s terminalSession) seeText(text string) string {
	s.t.Helper()
	return s.see(text, func(screen string) bool { return strings.Contains(screen, text) })
}

// watcher starts an inotifywait under the given name that watches one directory.
func watcher(t *testing.T, name string) (pid int) {
	t.Helper()
	exe, err := exec.LookPath("inotifywait")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(exe, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, name), "-m", dir)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "established") {
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// top lives in a real terminal: it shows a holder that comes while it runs,
// obeys keys, follows the terminal's size, uses no colour where NO_COLOR is
// set, and gives the terminal back.
func TestTopInTerminal(t *testing.T) {
	privtest.Root(t)
	s := inTerminal(t, "NO_COLOR=1 nodetune top --interval 500ms; echo ended with $?; sleep 600")
	s.seeText("POD OR UNIT")
	s.press("/")
	s.press("-l", "nt-top-") // this machine may be busy with others
	s.press("Enter")
	s.seeText("no process has")
	watcher(t, "nt-top-one")
	watcher(t, "nt-top-two")
	screen := s.see("both holders", func(screen string) bool {
		return strings.Contains(screen, "nt-top-one") && strings.Contains(screen, "nt-top-two")
	})
	for line := range strings.Lines(screen) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if colours := s.tmux("capture-pane", "-p", "-e"); regexp.MustCompile(`\x1b\[([0-9;]*;)?[39][0-7]m`).MatchString(colours) {
		t.Errorf("colours in spite of NO_COLOR:\n%q", colours)
	}
	s.press("/")
	s.press("-l", "two")
	s.press("Enter")
	s.see("the filtered rows", func(screen string) bool {
		return strings.Contains(screen, "nt-top-two") && !strings.Contains(screen, "nt-top-one") && strings.Contains(screen, `with "nt-top-two"`)
	})
	s.press("?")
	s.seeText("sort by instances")
	s.press("?")
	s.press("Enter")
	s.seeText("fs.inotify.max_user_instances of uid 0")
	s.press("Escape")
	s.seeText("POD OR UNIT")
	s.press("2")
	s.seeText("[2 accounts]")
	s.press("4")
	s.seeText("[4 disks and logs]")
	s.press("1")
	s.press("Space")
	s.seeText("paused")
	s.tmux("resize-window", "-x", "120", "-y", "30")
	s.see("the uid and the whole name in 120 columns", func(screen string) bool { return strings.Contains(screen, "UID COMM") })
	s.press("q")
	s.see("the terminal as it was", func(screen string) bool {
		return strings.Contains(screen, "ended with 0") && !strings.Contains(screen, "POD OR UNIT")
	})
}
