package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

// envBoot is the root directory of a process that is to become systemd.
const envBoot = "NODETUNE_E2E_BOOT"

// masked are the units that would change the settings of the machine, or wait
// for devices that this host does not have.
var masked = []string{
	"systemd-sysctl.service", "systemd-modules-load.service", "systemd-binfmt.service",
	"systemd-udevd.service", "systemd-firstboot.service", "systemd-logind.service", "getty.target",
	"dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount",
	"sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount",
}

// A host is a root directory with nothing of this machine but /usr, read-only.
// It outlives a boot.
type host struct {
	root string
	init *exec.Cmd // systemd, while it runs
}

// newHost makes a host of which each t has its own.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{root: filepath.Join(sandbox.Dir(), "host-"+t.Name())}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"usr", "etc/systemd/system", "var/log/journal", "proc", "sys", "dev", "run", "tmp", "root", "home", "old"} {
		must(os.MkdirAll(filepath.Join(h.root, dir), 0o755))
	}
	for _, dir := range []string{"bin", "lib", "lib64", "sbin"} {
		if _, err := os.Lstat("/usr/" + dir); err == nil {
			must(os.Symlink("usr/"+dir, filepath.Join(h.root, dir)))
		}
	}
	for name, text := range map[string]string{
		"etc/machine-id": "0123456789abcdef0123456789abcdef\n",
		"etc/passwd":     "root:x:0:0:root:/root:/bin/sh\nmessagebus:x:101:101::/:/usr/sbin/nologin\n",
		"etc/group":      "root:x:0:\nadm:x:4:\nmessagebus:x:101:\nsystemd-journal:x:102:\n",
	} {
		must(os.WriteFile(filepath.Join(h.root, name), []byte(text), 0o644))
	}
	for _, unit := range masked {
		must(os.Symlink("/dev/null", filepath.Join(h.root, "etc/systemd/system", unit)))
	}
	must(os.MkdirAll(filepath.Join(h.root, "local/bin"), 0o755)) // becomes /usr/local
	return h
}

// boot starts systemd and waits until it has started everything.
func (h *host) boot(t *testing.T) {
	t.Helper()
	h.init = exec.Command("/proc/self/exe")
	h.init.Env = append(os.Environ(), envBoot+"="+h.root)
	h.init.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Setsid:     true,
	}
	console, err := os.OpenFile(h.root+".console", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	h.init.Stdout, h.init.Stderr = console, console
	if err := h.init.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.off)
	cluster.Eventually(t, "systemd has started everything", func(context.Context) error {
		// It also says so by its exit code; degraded is none of our units' fault.
		out, _ := h.command("systemctl", "is-system-running").CombinedOutput()
		if state := strings.TrimSpace(string(out)); state != "running" && state != "degraded" {
			text, _ := os.ReadFile(h.root + ".console")
			return fmt.Errorf("it is %q; its console:\n%s", state, text)
		}
		return nil
	})
}

// off is a power failure: the kernel kills whatever runs on h.
func (h *host) off() {
	if h.init != nil {
		_ = h.init.Process.Kill()
		_ = h.init.Wait()
		h.init = nil
	}
}

// command runs on h, as a login of root does.
func (h *host) command(args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(h.init.Process.Pid), "--mount", "--pid", "--ipc", "--uts", "--cgroup", "--root", "--wd", "--"}
	cmd := exec.Command("nsenter", append(enter, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	return cmd
}

// run runs a shell script on h, which must succeed, and returns what it says.
func (h *host) run(t *testing.T, script string) string {
	t.Helper()
	out, err := h.command("sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

// show returns a property of a unit.
func (h *host) show(t *testing.T, unit, property string) string {
	t.Helper()
	return h.run(t, "systemctl show --value --property="+property+" "+unit)
}

// number is a property that is a number.
func (h *host) number(t *testing.T, unit, property string) int {
	t.Helper()
	n, err := strconv.Atoi(h.show(t, unit, property))
	if err != nil {
		t.Fatalf("%s of %s: %v", property, unit, err)
	}
	return n
}

// until waits for a property to have the value want.
func (h *host) until(t *testing.T, unit, property, want string) {
	t.Helper()
	cluster.Eventually(t, fmt.Sprintf("%s of %s is %s", property, unit, want), func(context.Context) error {
		if got := h.show(t, unit, property); got != want {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
}

// write makes a file of h.
func (h *host) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(h.root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// becomeSystemd is PID 1 of the host with the given root. It returns only what
// kept it from executing systemd.
func becomeSystemd(root string) error {
	runtime.LockOSThread() // a namespace is a thread's until it executes
	if err := sandbox.JoinCgroups(); err != nil {
		return err
	}
	if err := machineCgroups(root); err != nil {
		return err
	}
	if err := syscall.Unshare(syscall.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare the cgroup namespace: %w", err)
	}
	if err := mounts(root); err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := syscall.PivotRoot(".", "old"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := syscall.Unmount("/old", syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the machine's root: %w", err)
	}
	// With $container it leaves devices and kernel modules alone.
	return syscall.Exec("/lib/systemd/systemd", []string{"systemd", "--system", "--show-status=false"},
		[]string{"container=nodetune", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"})
}

// machineCgroups mounts cgroup v2 of the machine, with its root, at /cgroup. What is
// mounted after it shows a part of the hierarchy.
func machineCgroups(root string) error {
	at := filepath.Join(root, "cgroup")
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		os.MkdirAll(at, 0o755),
		syscall.Mount("cgroup2", at, "cgroup2", 0, ""),
	)
	if err != nil {
		return fmt.Errorf("mount cgroup v2 at %s: %w", at, err)
	}
	return nil
}

func mounts(root string) error {
	mount := func(from, to, kind string, flags uintptr, options string) error {
		at := filepath.Join(root, to)
		if err := syscall.Mount(from, at, kind, flags, options); err != nil {
			return fmt.Errorf("mount %s %s at %s: %w", kind, from, at, err)
		}
		return nil
	}
	err := errors.Join(
		mount(root, "", "", syscall.MS_BIND|syscall.MS_REC, ""),
		mount("/usr", "usr", "", syscall.MS_BIND, ""),
		mount("", "usr", "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, ""),
		mount(filepath.Join(root, "local"), "usr/local", "", syscall.MS_BIND, ""),
		mount("proc", "proc", "proc", 0, ""),
		mount("sysfs", "sys", "sysfs", 0, ""),
		mount("tmpfs", "run", "tmpfs", 0, "mode=755"),
		mount("tmpfs", "tmp", "tmpfs", 0, "mode=1777"),
		mount("tmpfs", "dev", "tmpfs", 0, "mode=755"),
		cgroups(mount, filepath.Join(root, "sys/fs/cgroup")),
	)
	err = errors.Join(err,
		os.Mkdir(filepath.Join(root, "dev/pts"), 0o755),
		mount("devpts", "dev/pts", "devpts", 0, "newinstance,ptmxmode=0666"),
		os.Symlink("pts/ptmx", filepath.Join(root, "dev/ptmx")), // PrivateDevices= copies it
	)
	for _, device := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		err = errors.Join(err, os.WriteFile(filepath.Join(root, "dev", device), nil, 0o666),
			mount("/dev/"+device, "dev/"+device, "", syscall.MS_BIND, ""))
	}
	return err
}

// cgroups mounts each hierarchy again: what is mounted shows the tree from the
// machine's root on, which no path of this namespace leads to.
func cgroups(mount func(from, to, kind string, flags uintptr, options string) error, at string) error {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) == 1 { // cgroup v2 alone
		return mount("cgroup2", "sys/fs/cgroup", "cgroup2", 0, "")
	}
	if err := mount("tmpfs", "sys/fs/cgroup", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, line := range lines {
		controllers := strings.SplitN(line, ":", 3)[1]
		dir, kind := strings.TrimPrefix(controllers, "name="), "cgroup"
		if controllers == "" {
			dir, kind = "unified", "cgroup2"
		}
		if err := os.Mkdir(filepath.Join(at, dir), 0o755); err != nil {
			return err
		}
		if err := mount("cgroup", "sys/fs/cgroup/"+dir, kind, 0, controllers); err != nil {
			return err
		}
	}
	return nil
}
