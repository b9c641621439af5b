package demo

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// RefusedError is why there can be no demo here: the kernel refused the user
// namespace, or its limits.
type RefusedError struct {
	Setting string // what forbids it, and what permits it
	Err     error  // of the kernel
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the demo needs a user namespace of its own, which is refused here: %s (the kernel reports: %v)", e.Setting, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// refusal names the setting behind err, as far as the sysctls show it. read
// returns the value of a sysctl, and whether it exists.
func refusal(err error, read func(key string) (int64, bool)) *RefusedError {
	return &RefusedError{forbiddingSetting(err, read), err}
}

func forbiddingSetting(err error, read func(key string) (int64, bool)) string {
	is := func(key string, value int64) bool {
		got, ok := read(key)
		return ok && got == value
	}
	most, known := read("user.max_user_namespaces")
	switch {
	case known && most == 0:
		return "user.max_user_namespaces is 0, a positive number permits it"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EUSERS):
		return fmt.Sprintf("all user namespaces of this user are in use: user.max_user_namespaces is %s here, and a namespace above may permit fewer", number(most, known))
	case is("kernel.unprivileged_userns_clone", 0):
		return "kernel.unprivileged_userns_clone is 0, 1 permits it, and root needs neither"
	case is("kernel.apparmor_restrict_unprivileged_userns", 1):
		return "kernel.apparmor_restrict_unprivileged_userns is 1, 0 permits it, and root needs neither"
	case errors.Is(err, syscall.EROFS):
		return "/proc/sys is mounted read-only, as in a container: run the demo on the host"
	case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS):
		return "this kernel has no user namespaces (CONFIG_USER_NS)"
	case errors.Is(err, syscall.ENOENT):
		return "/proc/sys/user is missing: the kernel is older than 4.9, or /proc is not mounted"
	}
	return "a seccomp profile or a security module (AppArmor, SELinux) forbids it, as in most containers: run the demo on the host, as root"
}

func number(n int64, known bool) string {
	if !known {
		return "unknown"
	}
	return strconv.FormatInt(n, 10)
}

// sysctl reads a setting of this kernel.
func sysctl(key string) (int64, bool) {
	b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(key, ".", "/"))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}
