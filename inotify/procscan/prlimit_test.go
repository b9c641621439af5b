package procscan

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/privtest"
)

// crowded starts a process that has 60 descriptors open and may have 64.
func crowded(t *testing.T, credential *syscall.Credential) *exec.Cmd {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := exec.Command("sleep", "600")
	for range 57 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, null)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Pdeathsig: syscall.SIGKILL}
	// The child inherits the limit of this process, and keeps its hard one.
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestRaiseNOFILE(t *testing.T) {
	cmd := crowded(t, nil)
	pid := cmd.Process.Pid
	var was unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 100}, &was); err != nil {
		t.Fatal(err)
	}
	s, u := scan(t, func(p *inotify.Policy) { p.RaiseNOFILE, p.CountWatches = []string{"sleep"}, false })
	p, ok := u.Process(pid)
	if !ok {
		t.Fatalf("process %d with 60 of 64 descriptors is not listed", pid)
	}
	plan := inotify.RaiseNOFILE([]inotify.Process{p}, s.policy)
	if len(plan) != 1 {
		t.Fatalf("nothing is planned for %+v", p)
	}

	other := plan[0]
	other.Start++
	if _, err := s.RaiseNOFILE(other); !errors.Is(err, ErrGone) {
		t.Errorf("a process that has the pid of another: %v", err)
	}
	if is, err := s.RaiseNOFILE(plan[0]); err != nil || is != 100 {
		t.Errorf("raised to %d: %v; want 100, the hard limit", is, err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		t.Fatal(err)
	}
	if soft, hard, ok := openFilesLimits(string(limits)); !ok || soft != "100" || hard != "100" {
		t.Errorf("the kernel says %s and %s", soft, hard)
	}
	lower := plan[0]
	lower.To = 70
	if is, err := s.RaiseNOFILE(lower); err != nil || is != 100 {
		t.Errorf("it lowered the limit to %d: %v", is, err)
	}

	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if _, err := s.RaiseNOFILE(plan[0]); !errors.Is(err, ErrGone) {
		t.Errorf("a process that has ended: %v", err)
	}
}

// openFilesLimits returns soft and hard as /proc/PID/limits has them.
func openFilesLimits(limits string) (soft, hard string, ok bool) {
	for line := range strings.Lines(limits) {
		if rest, found := strings.CutPrefix(line, "Max open files"); found {
			f := strings.Fields(rest)
			return f[0], f[1], len(f) >= 2
		}
	}
	return "", "", false
}

// Another user's process, without CAP_SYS_RESOURCE: the error says what is
// missing.
func TestRaiseNOFILEWithoutCapability(t *testing.T) {
	privtest.Root(t)
	for name, credential := range map[string]*syscall.Credential{
		"it runs as uid 70120": {Uid: 70120, Gid: 70120},
		"its gid is another":   {Uid: 0, Gid: 70120},
	} {
		cmd := crowded(t, credential)
		s, _ := scan(t, func(p *inotify.Policy) { p.CountWatches = false })
		p, err := s.walker.Open(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		stat, err := p.Stat()
		p.Close()
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error)
		go func() {
			// Never unlocked: the thread ends with the goroutine, and its
			// capabilities with it.
			runtime.LockOSThread()
			if err := dropSysResource(); err != nil {
				failed <- err
				return
			}
			_, err := s.RaiseNOFILE(inotify.NOFILERaise{PID: cmd.Process.Pid, Start: stat.Start, To: 1 << 20})
			failed <- err
		}()
		if err := <-failed; !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "CAP_SYS_RESOURCE") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// dropSysResource takes CAP_SYS_RESOURCE from the calling thread.
func dropSysResource() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	return unix.Capset(&header, &data[0])
}
