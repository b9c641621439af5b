package bpf

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// openEnv makes the test binary open a source: "table", "walk" or "iterator". With
// "seccomp" before the name, it first forbids itself bpf(2).
const openEnv = "NODETUNE_TEST_OPEN"

func openAndPrint() int {
	what := os.Getenv(openEnv)
	if rest, ok := strings.CutPrefix(what, "seccomp "); ok {
		what = rest
		if err := denyBPF(); err != nil {
			fmt.Fprintln(os.Stdout, "test:", err)
			return 3
		}
	}
	if err := openSource(what); err != nil {
		fmt.Fprintln(os.Stdout, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, "opened")
	return 0
}

func openSource(what string) error {
	if what == "table" {
		table, err := Open("/proc", NewTypes())
		if err != nil {
			return err
		}
		_, err = table.Accounts()
		return err
	}
	w, err := OpenWalk("/proc", NewTypes())
	if what == "iterator" {
		w, err = openIterator()
	}
	if err != nil {
		return err
	}
	held, err := w.Holders()
	if err == nil && held.Walk.Processes < 5 { // a new pid namespace has two
		return fmt.Errorf("the walk found only %d processes", held.Walk.Processes)
	}
	return err
}

// openIterator opens a walk as OpenWalk does before Linux 6.7.
func openIterator() (*Walk, error) {
	self, err := ownAccount("/proc")
	if err != nil {
		return nil, err
	}
	spec, err := load(loadWalk)
	if err != nil {
		return nil, err
	}
	if err := spec.Variables[walkVarOldKernel].Set(uint32(1)); err != nil {
		return nil, err
	}
	w, err := loadIterator(spec, "/proc", NewTypes())
	if err != nil {
		return nil, missingRequirement(err)
	}
	return w, w.selfTest(self, "/proc")
}

// denyBPF forbids bpf(2), as the default profile of container runtimes does.
func denyBPF() error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_BPF, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(unix.EPERM)}, // SECCOMP_RET_ERRNO
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},                      // SECCOMP_RET_ALLOW
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return errno
	}
	return nil
}

// as returns the prefix that runs a command with this uid and these capabilities.
func as(uid int, caps string) []string {
	set := "-all" + caps
	return []string{
		"setpriv", fmt.Sprint("--reuid=", uid), fmt.Sprint("--regid=", uid), "--clear-groups",
		"--inh-caps=" + set, "--ambient-caps=" + set, "--bounding-set=" + set,
	}
}

// TestRequirements: the documented requirements are enough, and the error names the
// missing one. A user at its limit of instances can open all sources.
func TestRequirements(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	const uid, full = 70397, 70398
	inotifytest.New(t, 1).Start(inotifytest.Spec{Kind: inotifytest.Plain, Processes: 1, UID: full, Instances: 128})
	self := executable(t)
	hide := []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$0"`}
	for _, what := range []string{"table", "walk", "iterator"} {
		elsewhere := "opened"
		if what == "iterator" {
			elsewhere = "run with hostPID"
		}
		for _, c := range []struct {
			name, env string
			run       []string
			want      string
		}{
			{"everything", what, nil, "opened"},
			{"CAP_BPF and CAP_PERFMON", what, as(uid, ",+bpf,+perfmon"), "opened"},
			{"no instance left", what, as(full, ",+bpf,+perfmon"), "opened"},
			{"no CAP_PERFMON", what, as(uid, ",+bpf"), "CAP_PERFMON"},
			{"no CAP_BPF", what, as(uid, ",+perfmon"), "CAP_BPF"},
			{"no capability", what, as(0, ""), "CAP_BPF"},
			{"a user namespace", what, []string{"unshare", "--user", "--map-root-user"}, "initial user namespace"},
			{"no BTF", what, hide, "CONFIG_DEBUG_INFO_BTF"},
			{"seccomp", "seccomp " + what, nil, "seccomp"},
			{"another pid namespace", what, []string{"unshare", "--pid", "--fork", "--mount-proc"}, elsewhere},
		} {
			t.Run(what+"/"+c.name, func(t *testing.T) {
				args := append(c.run, self)
				cmd := exec.Command(args[0], args[1:]...)
				cmd.Env = append(os.Environ(), openEnv+"="+c.env)
				cmd.Dir = "/"
				out, err := cmd.CombinedOutput()
				if !strings.Contains(string(out), c.want) {
					t.Errorf("%v: %v\ngot %swant %q", args, err, bytes.TrimSpace(out), c.want)
				}
			})
		}
	}
}

// executable copies the test binary to where other users can run it.
func executable(t *testing.T) string {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "nodetune")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	bin := dir + "/bpf.test"
	if err := os.WriteFile(bin, self, 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}
