package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

// anonAtExit runs a command under ptrace(2) and returns RssAnon of
// /proc/PID/status when it is about to exit: a short-lived process is gone
// before anybody else could look, and ru_maxrss counts the mapped binary.
func anonAtExit(name string, args ...string) (bytes int64, err error) {
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command(name, args...)
	cmd.Stdout = io.Discard
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = cmd.Process.Release() }()
	pid := cmd.Process.Pid
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
		return 0, err
	}
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACEEXIT|unix.PTRACE_O_EXITKILL); err != nil {
		return 0, err
	}
	for signal := 0; ; {
		if err := unix.PtraceCont(pid, signal); err != nil {
			return bytes, err
		}
		if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
			return bytes, err
		}
		signal = 0
		switch {
		case status.Exited(), status.Signaled():
			return bytes, nil
		case status.TrapCause() == unix.PTRACE_EVENT_EXIT:
			if bytes, err = rssAnon(pid); err != nil {
				return 0, err
			}
		case status.Stopped() && status.StopSignal() != unix.SIGTRAP:
			signal = int(status.StopSignal())
		}
	}
}

func rssAnon(pid int) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no RssAnon", pid)
}

// maxOneShotAnon is what a command may take of a node's memory: it runs where
// memory may be short, before the kubelet.
const maxOneShotAnon = 10 << 20

func TestOneShotMemory(t *testing.T) {
	privtest.Root(t)
	bin, h := build(t), newHost(t)
	for _, command := range []string{"apply", "check", "apply", "restore"} {
		got, err := anonAtExit(bin, append([]string{command}, h.flags()...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d KiB RssAnon", command, got>>10)
		if got == 0 || got > maxOneShotAnon {
			t.Errorf("%s takes %d KiB of RssAnon, want at most %d", command, got>>10, maxOneShotAnon>>10)
		}
	}
}

// BenchmarkOneShot runs whole commands, from start to finish, on a machine in
// force, beside the tools that a user has without nodetune.
func BenchmarkOneShot(b *testing.B) {
	privtest.Host(b)
	bin, root := build(b), b.TempDir()
	if out, err := exec.Command(bin, "apply", "--path.rootfs", root).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	for name, args := range map[string][]string{
		"apply":       {bin, "apply", "--path.rootfs", root},
		"check":       {bin, "check", "--path.rootfs", root},
		"version":     {bin, "version"}, // what starting alone costs
		"sysctl-a":    {"sysctl", "-a"},
		"sysctl-keys": {"sysctl", "fs.inotify", "fs.epoll", "fs.file-max", "fs.nr_open", "user.max_inotify_instances", "user.max_inotify_watches"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				// check exits with 1 where an account of this machine is under pressure.
				if err := exec.Command(args[0], args[1:]...).Run(); err != nil && args[1] != "check" {
					b.Fatalf("%v: %v", args, err)
				}
			}
			b.StopTimer()
			anon, err := anonAtExit(args[0], args[1:]...)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(anon)/(1<<20), "RssAnon-MiB")
		})
	}
}
