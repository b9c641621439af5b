package guard

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// UnavailableError says what the kernel, the node or nodetune lack for a guard.
// It is an [errors.ErrUnsupported].
type UnavailableError struct {
	Needs string // such as "CAP_BPF and CAP_NET_ADMIN"
	Err   error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the sysctl guard is unavailable: it needs %s: %v", e.Needs, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Is makes it an [errors.ErrUnsupported].
func (e *UnavailableError) Is(target error) bool { return target == errors.ErrUnsupported }

// way is a program, from what names the writer best to what needs least.
type way struct {
	program string
	unknown string // to it
}

var ways = []way{
	{guardProgNodetuneTask, ""},
	{guardProgNodetuneComm, "writes of user.max_inotify_*, and the writer's cgroup where cgroup v1 is used"},
	{guardProgNodetuneIds, "the writer's name, writes of user.max_inotify_*, and the writer's cgroup where cgroup v1 is used"},
}

// limits says what a way does not know, and why the best one was not loaded.
func limits(w way, err error) []string {
	why := err.Error()
	switch {
	case !capable(unix.CAP_PERFMON):
		why = "CAP_PERFMON is missing"
	case noBTF():
		why = "this kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)"
	}
	return []string{"not known: " + w.unknown + ": " + why}
}

func missingCapabilities() string {
	var missing []string
	for _, c := range []struct {
		name  string
		value uint
	}{{"CAP_BPF", unix.CAP_BPF}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}} {
		if !capable(c.value) {
			missing = append(missing, c.name)
		}
	}
	return strings.Join(missing, " and ")
}

func loadProblem(err error) error {
	unsupported := func(err error) bool { return errors.Is(err, ebpf.ErrNotSupported) }
	switch {
	case errors.Is(err, unix.ENOSYS):
		return &UnavailableError{"bpf(2), which this kernel does not have, or a seccomp profile hides", err}
	case unsupported(features.HaveProgramType(ebpf.CGroupSysctl)):
		return &UnavailableError{"BPF_PROG_TYPE_CGROUP_SYSCTL (Linux 5.2 with CONFIG_CGROUP_BPF)", err}
	case unsupported(features.HaveMapType(ebpf.RingBuf)):
		return &UnavailableError{"BPF_MAP_TYPE_RINGBUF (Linux 5.8)", err}
	case errors.Is(err, unix.EPERM):
		return &UnavailableError{"the initial user namespace, and no seccomp profile, lockdown or security module against bpf(2)", unix.EPERM}
	case !capable(unix.CAP_PERFMON) && unsupported(features.HaveProgramHelper(ebpf.CGroupSysctl, asm.FnGetCurrentPidTgid)):
		return &UnavailableError{"CAP_PERFMON, without which this kernel does not show the writer's pid", err}
	}
	return fmt.Errorf("load the sysctl guard: %w", err)
}

func attachProblem(err error) error {
	switch {
	case errors.Is(err, ebpf.ErrNotSupported):
		return &UnavailableError{"BPF links to cgroups (Linux 5.7)", err}
	case errors.Is(err, unix.EPERM):
		return &UnavailableError{"a cgroup root to which no program is attached without BPF_F_ALLOW_MULTI", err}
	case errors.Is(err, unix.E2BIG):
		return &UnavailableError{"a cgroup root to which less than 64 programs are attached", err}
	}
	return fmt.Errorf("attach the sysctl guard to the cgroup root: %w", err)
}

func noBTF() bool {
	_, err := os.Stat("/sys/kernel/btf/vmlinux")
	return errors.Is(err, os.ErrNotExist)
}

// capable reports whether this process has the capability, or CAP_SYS_ADMIN,
// which bpf(2) takes for each of those that it needs.
func capable(c uint) bool {
	var sets [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
		return true // it is not known to lack it
	}
	has := func(c uint) bool { return sets[c/32].Effective>>(c%32)&1 == 1 }
	return has(c) || has(unix.CAP_SYS_ADMIN)
}
