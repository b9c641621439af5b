package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Process is one program of the cluster. Tests stop and start it again.
type Process struct {
	name string
	args []string
	log  string
	// ready asks the running program, started at began, whether it serves.
	ready func(ctx context.Context, began time.Time) error

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd ended

	starts []startup
}

// A startup is from when a program is started until it is ready.
type startup struct{ from, to time.Time }

// starting reports whether the program had been started at the time and was not
// ready yet.
func (p *Process) starting(at time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.starts, func(s startup) bool { return !at.Before(s.from) && !at.After(s.to) })
}

// Start runs the program and returns when it is ready.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }()
	begin := time.Now()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	done := make(chan struct{})
	started := make(chan error)
	go func() {
		// Pdeathsig is about the thread that forked: keep it until the end.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.cmd, p.done = cmd, done
	err = poll(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		select {
		case <-done:
			return fatal{errors.New("it ended")}
		default:
			return p.ready(ctx, begin)
		}
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w\n%s", p.name, err, tail(p.log))
	}
	p.starts = append(p.starts, startup{begin, time.Now()})
	return nil
}

// Stop ends the program with SIGTERM, and after half a minute with SIGKILL.
func (p *Process) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.cmd = nil
}

// Kill ends the program at once, with SIGKILL.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	p.cmd = nil
}

// Restart is Stop and Start.
func (p *Process) Restart(ctx context.Context) error {
	p.Stop()
	return p.Start(ctx)
}

// tail returns the last lines of a log.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Sprintf("the end of %s:\n%s", filepath.Base(path), strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

// fatal ends a poll at once.
type fatal struct{ error }

// poll calls check until it returns nil, a fatal error, or ctx ends, and
// returns the last error.
func poll(ctx context.Context, every time.Duration, check func(context.Context) error) error {
	for {
		err := check(ctx)
		var stop fatal
		if err == nil || errors.As(err, &stop) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; at last: %w", ctx.Err(), err)
		case <-time.After(every):
		}
	}
}
