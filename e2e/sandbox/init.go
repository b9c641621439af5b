package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const envReadOnly = "NODETUNE_E2E_READONLY"

// initStage is PID 1 of the sandbox: it furnishes the namespaces, starts the
// inner process, passes signals on to it, and reaps everybody's orphans. When
// it returns, the kernel kills all that is left.
func initStage() int {
	if err := furnish(Dir()); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: furnish the sandbox:", err)
		return 1
	}
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	env := make([]string, 0, len(os.Environ()))
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, envStage+"=") {
			env = append(env, e)
		}
	}
	inner, err := os.StartProcess(self, os.Args, &os.ProcAttr{
		Env:   append(env, envStage+"=inside"),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for s := range signals {
			_ = inner.Signal(s)
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "e2e: wait:", err)
			return 1
		case pid == inner.Pid && status.Exited():
			return status.ExitStatus()
		case pid == inner.Pid && status.Signaled():
			return 128 + int(status.Signal())
		}
	}
}

// furnish makes the mounts, the host name and the network of the sandbox.
func furnish(dir string) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range []struct{ from, to string }{
		{"run", "/run"},
		{"lib", "/var/lib"},
		{"log", "/var/log"},
	} {
		from := filepath.Join(dir, m.from)
		if err := os.MkdirAll(from, 0o755); err != nil {
			return err
		}
		if err := syscall.Mount(from, m.to, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s to %s: %w", from, m.to, err)
		}
	}
	hosts := filepath.Join(dir, "hosts")
	text := "127.0.0.1 localhost\n" + NodeAddress + " " + Hostname + "\n"
	if err := os.WriteFile(hosts, []byte(text), 0o644); err != nil {
		return err
	}
	if err := syscall.Mount(hosts, "/etc/hosts", "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to /etc/hosts: %w", hosts, err)
	}
	if os.Getenv(envReadOnly) != "" {
		if err := readOnlyRoot(dir); err != nil {
			return err
		}
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// Shared, as systemd makes it: volumes with mount propagation need it.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	if err := syscall.Sethostname([]byte(Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", NodeAddress + "/32", "dev", "lo"},
		{"address", "add", ServiceAddress + "/32", "dev", "lo"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

// readOnlyRoot turns / read-only for the sandbox alone. /tmp stays writable
// for the test program and the run's directory.
func readOnlyRoot(dir string) error {
	for _, keep := range []string{os.TempDir(), dir} {
		if err := syscall.Mount(keep, keep, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s to itself: %w", keep, err)
		}
	}
	// The flag of this mount only; a plain remount would ask for the whole
	// filesystem, which the host is writing to.
	if err := syscall.Mount("", "/", "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make / read-only: %w", err)
	}
	return nil
}
