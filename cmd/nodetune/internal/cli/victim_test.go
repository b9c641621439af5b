package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

// victimEnv makes the test binary a victim of what it names, with the soft
// RLIMIT_NOFILE that follows.
const victimEnv = "NODETUNE_TEST_VICTIM"

// What a victim takes.
const (
	someInstances = "instances"
	someFiles     = "files"
)

// beVictim takes as many more as each line of the input says, and answers with
// how many it has and the errno that ended it, 0 for none.
func beVictim(role string) {
	var what string
	var soft uint64
	_, _ = fmt.Sscan(role, &what, &soft)
	// The Go runtime has raised it to the hard one.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: soft, Max: max(soft, 4096)}); err != nil {
		fmt.Fprintln(os.Stderr, "victim:", err)
		os.Exit(1)
	}
	take := func() (int, error) { return unix.InotifyInit1(unix.IN_CLOEXEC) }
	if what == someFiles {
		take = func() (int, error) { return unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0) }
	}
	have := 0
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n, _ := strconv.Atoi(in.Text())
		var errno syscall.Errno
		for range n {
			if _, err := take(); err != nil {
				errno, _ = errors.AsType[syscall.Errno](err)
				break
			}
			have++
		}
		_, _ = fmt.Fprintln(os.Stdout, have, int(errno))
	}
	os.Exit(0)
}

// victim is a process that uses up a kernel limit on request.
type victim struct {
	t   *testing.T
	pid int
	in  io.Writer
	out *bufio.Reader
	end func() // gives back what it has taken; the end of the test does too
}

// newVictim starts one as uid with this soft RLIMIT_NOFILE and a hard one of
// 4096 at least.
func newVictim(t *testing.T, uid uint32, what string, nofile uint64) victim {
	t.Helper()
	// Named so, any uid reaches it: the directory of the binary is closed.
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{fmt.Sprintf("%s=%s %d", victimEnv, what, nofile)}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := victim{t, cmd.Process.Pid, in, bufio.NewReader(out), sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait() // it ends with its input
	})}
	t.Cleanup(v.end)
	v.take(0) // it is loaded, and opens nothing more by itself
	return v
}

func (v victim) String() string { return strconv.Itoa(v.pid) }

// take makes it take n more.
func (v victim) take(n int) (have, errno int) {
	v.t.Helper()
	fmt.Fprintln(v.in, n)
	line, err := v.out.ReadString('\n')
	if err != nil {
		v.t.Fatalf("the victim says nothing: %v", err)
	}
	if _, err := fmt.Sscan(line, &have, &errno); err != nil {
		v.t.Fatalf("the victim says %q: %v", line, err)
	}
	return have, errno
}

// takeAll makes it take what there is and returns how many it has.
func (v victim) takeAll() int {
	v.t.Helper()
	have, errno := v.take(math.MaxInt)
	if errno != 24 {
		v.t.Fatalf("after %d it was refused with errno %d, want 24", have, errno)
	}
	return have
}

// growing starts a victim that may take instances until the kernel has no more.
func growing(t *testing.T, uid uint32) (by func(n int) (have, errno int)) {
	t.Helper()
	return greedy(t, uid).take
}

func greedy(t *testing.T, uid uint32) victim {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	return newVictim(t, uid, someInstances, limit.Max)
}

// instances returns how many instances uid can have now.
func instances(t *testing.T, uid uint32) int {
	t.Helper()
	v := greedy(t, uid)
	defer v.end()
	return v.takeAll()
}

// openFiles returns how many files the node has open, fs.file-nr.
func openFiles(t *testing.T) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(privtest.Get(t, "fs.file-nr"), &n); err != nil {
		t.Fatal(err)
	}
	return n
}
