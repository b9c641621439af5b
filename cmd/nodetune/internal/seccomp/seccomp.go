// Package seccomp takes from this process the system calls that the agent never
// makes, so that a program which takes the agent over has less to work with.
//
// The filter needs no file on the node, as a profile of the container runtime
// does, and holds beside that. It cannot be taken off again.
package seccomp

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// denied are the calls that fail with EPERM.
var denied = []uint32{
	// Run a program.
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	// Read, write or stop another process, or take its descriptors.
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_PIDFD_GETFD,
	// Enter another namespace or root, and mount. The sysctl guard mounts
	// cgroup2 for itself with fsopen(2) and fsmount(2), which attach it nowhere.
	unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_OPEN_TREE_ATTR, unix.SYS_MOUNT_SETATTR, unix.SYS_FSPICK,
	// Change the kernel or the machine.
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD,
	unix.SYS_REBOOT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_SYSLOG,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
	// Make a device, and open a file by its inode number.
	unix.SYS_MKNODAT, unix.SYS_OPEN_BY_HANDLE_AT,
	// Ways around a filter, and parts of the kernel that attacks use.
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_USERFAULTFD, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL, unix.SYS_PERSONALITY,
}

// deniedOn are the calls that one architecture alone has, by its AUDIT_ARCH: x/sys
// names them there only.
var deniedOn = map[uint32][]uint32{
	// fork, vfork, mknod, uselib, modify_ldt, iopl and ioperm.
	unix.AUDIT_ARCH_X86_64: {57, 58, 133, 134, 154, 172, 173},
}

// Confine denies these calls, and new processes, to all threads of this process,
// for good. It needs no capability, and Linux 3.17 (seccomp(2), with
// SECCOMP_FILTER_FLAG_TSYNC) built with CONFIG_SECCOMP_FILTER.
func Confine() error {
	arch, ok := arches[runtime.GOARCH]
	if !ok {
		return fmt.Errorf("there is no seccomp filter for %s", runtime.GOARCH)
	}
	code := program(arch)
	filter := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	// The kernel asks for it where CAP_SYS_ADMIN is missing, and gives it to all
	// threads with the filter.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", err)
	}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if thread != 0 {
		return fmt.Errorf("seccomp: thread %d has a filter of its own", thread)
	}
	return nil
}

// arches are the values of AUDIT_ARCH_*, linux/audit.h.
var arches = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// struct seccomp_data, linux/seccomp.h. The lower half of the first argument
// comes first: both architectures are little-endian.
const (
	dataNr   = 0
	dataArch = 4
	dataArg0 = 16
)

// x32 is the bit of the calls of the x32 ABI, which have numbers of their own.
const x32 = 0x40000000

// program returns the filter: every call of arch is allowed but those denied, a
// clone(2) that makes a process, and clone3(2), whose arguments a filter cannot
// see. The calls of another architecture fail.
func program(arch uint32) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	jump := func(condition uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | condition | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	end := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	deny, allow := end(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)), end(unix.SECCOMP_RET_ALLOW)

	code := []unix.SockFilter{load(dataArch), jump(unix.BPF_JEQ, arch, 1, 0), deny, load(dataNr)}
	code = append(code, jump(unix.BPF_JGE, x32, 0, 1), deny)
	for _, nr := range slices.Concat(denied, deniedOn[arch]) {
		code = append(code, jump(unix.BPF_JEQ, nr, 0, 1), deny)
	}
	code = append(code, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), end(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)))
	code = append(code, jump(unix.BPF_JEQ, unix.SYS_CLONE, 1, 0), allow)
	return append(code, load(dataArg0), jump(unix.BPF_JSET, unix.CLONE_THREAD, 0, 1), allow, deny)
}
