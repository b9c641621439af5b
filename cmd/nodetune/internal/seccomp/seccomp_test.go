package seccomp

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// In a process of its own, since a filter cannot be taken off.
func TestConfine(t *testing.T) {
	if os.Getenv("CONFINED") == "1" {
		confined(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestConfine$", "-test.v")
	cmd.Env = append(os.Environ(), "CONFINED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestConfine") {
		t.Errorf("%v\n%s", err, out)
	}
}

func confined(t *testing.T) {
	calls := map[string]func() error{
		"execve":            func() error { return exec.Command("/bin/true").Run() },
		"fork":              func() error { return fork(unix.SYS_CLONE, uintptr(unix.SIGCHLD)) },
		"vfork":             func() error { return fork(unix.SYS_CLONE, unix.CLONE_VM|unix.CLONE_VFORK|uintptr(unix.SIGCHLD)) },
		"ptrace":            func() error { return unix.PtraceAttach(-1) },
		"process_vm_readv":  func() error { return raw(unix.SYS_PROCESS_VM_READV) },
		"process_vm_writev": func() error { return raw(unix.SYS_PROCESS_VM_WRITEV) },
		"pidfd_getfd":       func() error { return raw(unix.SYS_PIDFD_GETFD) },
		"setns":             func() error { return unix.Setns(-1, 0) },
		"unshare":           func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"chroot":            func() error { return unix.Chroot("/") },
		"mount":             func() error { return unix.Mount("none", "/nonexistent", "tmpfs", 0, "") },
		"open_tree":         func() error { return raw(unix.SYS_OPEN_TREE) },
		"init_module":       func() error { return raw(unix.SYS_INIT_MODULE) },
		"kexec_load":        func() error { return raw(unix.SYS_KEXEC_LOAD) },
		"io_uring_setup":    func() error { return raw(unix.SYS_IO_URING_SETUP) },
		"userfaultfd":       func() error { return raw(unix.SYS_USERFAULTFD) },
		"keyctl":            func() error { return raw(unix.SYS_KEYCTL) },
		"mknodat":           func() error { return unix.Mknod(filepath.Join(t.TempDir(), "pipe"), unix.S_IFIFO|0o600, 0) },
	}
	for _, name := range []string{"execve", "process_vm_readv", "pidfd_getfd", "setns"} { // they change nothing
		if err := calls[name](); errors.Is(err, unix.EPERM) {
			t.Errorf("%s fails without the filter, too", name)
		}
	}
	// A thread from before has the filter, too.
	ready, start, result := make(chan bool), make(chan bool), make(chan error)
	go func() {
		ready <- true
		<-start
		result <- exec.Command("/bin/true").Run()
	}()
	<-ready
	if err := Confine(); err != nil {
		t.Fatal(err)
	}
	close(start)
	if err := <-result; !errors.Is(err, unix.EPERM) {
		t.Errorf("execve of another goroutine: %v", err)
	}
	if runtime.GOARCH == "amd64" { // calls that it alone has
		calls["fork, the call"] = func() error { return fork(57, 0) }
		calls["vfork, the call"] = func() error { return fork(58, 0) }
		calls["mknod"] = func() error { return raw(133) }
		calls["iopl"] = func() error { return raw(172) }
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: got %v, want EPERM", name, err)
		}
	}
	if err := raw(unix.SYS_CLONE3); !errors.Is(err, unix.ENOSYS) {
		t.Errorf("clone3: got %v, want ENOSYS", err)
	}
	// What the agent does goes on: files, threads, the process itself.
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
	var threads sync.WaitGroup
	for range 50 {
		threads.Go(func() {
			if b, err := os.ReadFile(name); err != nil || string(b) != "x" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	threads.Wait()
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC); err != nil && !errors.Is(err, unix.EMFILE) {
		t.Error(err)
	} else if err == nil {
		_ = unix.Close(fd)
	}
	if fd, err := unix.PidfdOpen(os.Getppid(), 0); err != nil {
		t.Error(err)
	} else {
		_ = unix.Close(fd)
	}
}

func raw(nr uintptr) error {
	if _, _, errno := unix.Syscall(nr, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// fork tries to make a process, which is refused: a Go program cannot fork.
func fork(nr, flags uintptr) error {
	if _, _, errno := unix.RawSyscall6(nr, flags, 0, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// The filter is what the kernel takes: it ends in each way, and no jump leaves it.
func TestProgram(t *testing.T) {
	for name, arch := range arches {
		code := program(arch)
		if len(code) > 4096 || code[0].K != dataArch {
			t.Errorf("%s: %d instructions, the first loads %d", name, len(code), code[0].K)
		}
		for i, c := range code {
			if c.Code&0x7 == unix.BPF_JMP && i+1+int(max(c.Jt, c.Jf)) >= len(code) {
				t.Errorf("%s: instruction %d jumps out", name, i)
			}
		}
		if last := code[len(code)-1]; last.Code&0x7 != unix.BPF_RET {
			t.Errorf("%s: the last instruction is %+v", name, last)
		}
	}
	if unsafe.Sizeof(unix.SockFilter{}) != 8 {
		t.Error("struct sock_filter has 8 bytes")
	}
}
