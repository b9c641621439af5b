package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

// waysOpenEnv makes the test binary open a failure counter, after it has given up what
// the words name: "perfmon", "bpf", "btf" or "everything".
const waysOpenEnv = "NODETUNE_TEST_OPEN_WAYS"

// openWaysWithout prints the way that is opened, or the error.
func openWaysWithout(words string) int {
	runtime.LockOSThread() // the capabilities are those of this thread
	for word := range strings.FieldsSeq(words) {
		if err := giveUp(word); err != nil {
			fmt.Fprintln(os.Stdout, "test:", word, err)
			return 3
		}
	}
	for _, ways := range [][]Way{FreeWays(), {Tracepoint}} {
		c, err := OpenFailureCounter("/proc", NewTypes(), ways...)
		if err != nil {
			fmt.Fprintln(os.Stdout, err)
			continue
		}
		way, _ := c.Way()
		fmt.Fprintf(os.Stdout, "opened %s\n", way)
		if err := c.Close(); err != nil {
			fmt.Fprintln(os.Stdout, "test:", err)
		}
	}
	return 0
}

func giveUp(what string) error {
	var without []uint
	switch what {
	case "nothing":
		return nil
	case "btf": // in a mount namespace of its own
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		return unix.Mount("tmpfs", "/sys/kernel/btf", "tmpfs", 0, "")
	case "perfmon":
		without = []uint{unix.CAP_PERFMON, unix.CAP_SYS_ADMIN}
	case "bpf":
		without = []uint{unix.CAP_BPF, unix.CAP_SYS_ADMIN}
	case "everything":
		for c := range uint(64) {
			without = append(without, c)
		}
	default:
		return fmt.Errorf("the test has no such word")
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return err
	}
	for _, c := range without {
		sets[c/32].Effective &^= 1 << (c % 32)
	}
	return unix.Capset(&header, &sets[0])
}

// TestFailureWaysWithout: what is missing is named, and no way is opened without it.
// The capabilities alone, without uid 0, are enough for the ways that cost nothing,
// and not for the tracepoint.
func TestFailureWaysWithout(t *testing.T) {
	privtest.Host(t)
	mountTracefs(t)
	free := "" // the best way of this kernel that costs nothing
	if c, err := OpenFailureCounter("/proc", NewTypes(), FreeWays()...); err == nil {
		way, _ := c.Way()
		free = string(way)
		_ = c.Close()
	} else {
		t.Log(err)
	}
	if must := strings.Fields(os.Getenv(waysEnv)); len(must) > 0 && must[0] != string(Tracepoint) && must[0] != free {
		t.Errorf("the best way is %q, want %q", free, must[0])
	}
	self := executable(t)
	for _, c := range []struct {
		without string
		as      *syscall.SysProcAttr
		want    []string
		free    bool // the way that costs nothing is opened, where the kernel has one
	}{
		{"nothing", nil, []string{"opened tracepoint"}, true},
		{"nothing", &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: 70397, Gid: 70397},
			AmbientCaps: []uintptr{unix.CAP_BPF, unix.CAP_PERFMON},
		}, []string{"tracefs"}, true},
		{"perfmon", nil, []string{"CAP_PERFMON"}, false},
		{"bpf", nil, []string{"CAP_BPF"}, false},
		{"everything", nil, []string{"CAP_BPF", "CAP_PERFMON"}, false},
		{"btf", &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}, []string{"CONFIG_DEBUG_INFO_BTF"}, false},
	} {
		t.Run(c.without, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Dir, cmd.SysProcAttr = "/", c.as
			cmd.Env = append(os.Environ(), waysOpenEnv+"="+c.without)
			b, err := cmd.CombinedOutput()
			out := string(b)
			if err != nil || strings.Contains(out, "test:") {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("got %s\nwant %q", out, want)
				}
			}
			if c.free && free != "" && !strings.Contains(out, "opened "+free) {
				t.Errorf("got %s\nwant %s opened", out, free)
			}
			if !c.free && strings.Contains(out, "opened") {
				t.Errorf("got %s", out)
			}
		})
	}
}
