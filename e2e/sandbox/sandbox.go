// Package sandbox gives a whole Kubernetes node namespaces of its own, so that
// nothing of it can outlive the process that asked for it.
//
// [Run] starts this same executable again in new mount, PID, network, IPC and
// UTS namespaces. Inside, /run, /var/lib and /var/log are empty directories of
// the run, the host name is node1, and the only network is loopback: fixed
// paths and ports cannot collide. When the starter dies, by SIGKILL too,
// the kernel kills every process of the PID namespace (shims and pods with it),
// and with the last of them go mounts, bridges and loop devices.
//
// Three things are not namespaced, and Run puts them back itself: the sysctls
// that a kubelet sets (setupKernelTunables) or a test raises, the cgroups of
// the pods, and the run's directory. A run that was killed is swept up by the
// next one.
//
// It needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN. It must not be used from
// a process that has other work: Run returns when the inner process ended.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// The environment of the two inner stages.
const (
	envStage = "NODETUNE_E2E_STAGE" // "init" or "inside"
	envDir   = "NODETUNE_E2E_DIR"   // the run's directory
)

// Hostname is the host's name inside.
const Hostname = "node1"

// Addresses that exist inside, on loopback. Pods reach both through their
// bridge, so the API server needs no kube-proxy to be found at the first
// address of the service network.
const (
	NodeAddress    = "10.0.0.10"
	ServiceAddress = "10.96.0.1"
)

// Dir is the run's own directory; it is empty outside a sandbox.
func Dir() string { return os.Getenv(envDir) }

// CgroupName is the name of the run's cgroup in every hierarchy.
func CgroupName() string { return filepath.Base(Dir()) }

// Inside reports whether this process runs in a sandbox.
func Inside() bool { return os.Getenv(envStage) == "inside" }

// Options change what the inside looks like.
type Options struct {
	// ReadOnlyRoot makes / read-only, as Talos does: only /run, /tmp,
	// /var/lib and /var/log can be written.
	ReadOnlyRoot bool
}

// Main runs inside in a sandbox and returns its exit code. It comes first in a
// main function, before flags are parsed:
//
//	func TestMain(m *testing.M) { os.Exit(sandbox.Main(sandbox.Options{}, m.Run)) }
func Main(opts Options, inside func() int) int {
	switch os.Getenv(envStage) {
	case "init":
		return initStage()
	case "inside":
		return inside()
	}
	code, err := Run(context.Background(), opts, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return code
}

// Run starts this executable, which must call [Main], with args in a new sandbox, waits for it, and
// takes the sandbox down. SIGINT and SIGTERM are passed on, and so is the end
// of ctx, as a SIGTERM. It returns the exit code of the inner process.
func Run(ctx context.Context, opts Options, args []string) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("a cluster needs root: namespaces, mounts and cgroups; run it with sudo")
	}
	r, err := newRun()
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, r.end()) }()

	// The parent's death signal is sent when the *thread* that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), envStage+"=init", envDir+"="+r.dir)
	if opts.ReadOnlyRoot {
		cmd.Env = append(cmd.Env, envReadOnly+"=1")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("start a process in new namespaces: %w", err)
	}
	if err := r.writePIDs(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
	}
	done := make(chan struct{})
	go func() {
		end := ctx.Done()
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-end:
				end = nil
				_ = cmd.Process.Signal(syscall.SIGTERM)
			case <-done:
				return
			}
		}
	}()
	err = cmd.Wait()
	close(done)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode() & 0xff, nil
	}
	return 0, err
}
