package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// child is a process in a user namespace of its own, where it is root.
type child struct {
	cmd      *exec.Cmd
	requests io.WriteCloser
	answers  *bufio.Reader
}

// start starts this program with args in a new user namespace. The child ends
// with ctx, and with its input, also where this process is killed.
func start(ctx context.Context, args []string) (*child, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = "nodetune"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER,
		// Without a privilege a process may map itself alone, user_namespaces(7).
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	cmd.Stderr = os.Stderr
	requests, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd, requests, bufio.NewReader(answers)}, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// ask makes the child do one request, and returns the errno of its call.
func (c *child) ask(request ...string) (syscall.Errno, error) {
	if _, err := fmt.Fprintln(c.requests, strings.Join(request, " ")); err != nil {
		return 0, fmt.Errorf("ask the process of the demo: %w", err)
	}
	line, err := c.answers.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("read an answer of the process of the demo: %w", err)
	}
	errno, err := strconv.ParseUint(strings.TrimSpace(line), 10, 16)
	if err != nil {
		return 0, fmt.Errorf("read an answer of the process of the demo: %w", err)
	}
	return syscall.Errno(errno), nil
}

// end ends the child, which gives back what it holds.
func (c *child) end() {
	_ = c.requests.Close()
	_ = c.cmd.Wait()
}
