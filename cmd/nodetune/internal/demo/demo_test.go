package demo

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Each way in which a kernel refuses has the setting that forbids it.
func TestRefusal(t *testing.T) {
	perm := &os.PathError{Op: "fork/exec", Path: "/proc/self/exe", Err: syscall.EPERM}
	for _, tt := range []struct {
		name    string
		err     error
		sysctls map[string]int64
		want    string
	}{
		{"none permitted", syscall.ENOSPC, map[string]int64{"user.max_user_namespaces": 0}, "user.max_user_namespaces is 0"},
		{"none permitted, EPERM", perm, map[string]int64{"user.max_user_namespaces": 0}, "user.max_user_namespaces is 0"},
		{"all in use", fmt.Errorf("start: %w", syscall.ENOSPC), map[string]int64{"user.max_user_namespaces": 9}, "user.max_user_namespaces is 9 here"},
		{"all in use, before 4.9", syscall.EUSERS, nil, "user.max_user_namespaces is unknown here"},
		{"Debian", perm, map[string]int64{"kernel.unprivileged_userns_clone": 0, "user.max_user_namespaces": 9}, "kernel.unprivileged_userns_clone is 0"},
		{"Debian, permitted", perm, map[string]int64{"kernel.unprivileged_userns_clone": 1}, "seccomp"},
		{"Ubuntu", syscall.EACCES, map[string]int64{"kernel.apparmor_restrict_unprivileged_userns": 1, "kernel.unprivileged_userns_clone": 1}, "kernel.apparmor_restrict_unprivileged_userns is 1"},
		{"Ubuntu, permitted", syscall.EACCES, map[string]int64{"kernel.apparmor_restrict_unprivileged_userns": 0}, "seccomp"},
		{"read-only", syscall.EROFS, nil, "/proc/sys is mounted read-only"},
		{"not built in", syscall.EINVAL, nil, "CONFIG_USER_NS"},
		{"not built in, ENOSYS", syscall.ENOSYS, nil, "CONFIG_USER_NS"},
		{"old", syscall.ENOENT, nil, "older than 4.9"},
		{"container", perm, map[string]int64{"user.max_user_namespaces": 100}, "seccomp"},
	} {
		got := refusal(tt.err, func(key string) (int64, bool) {
			v, ok := tt.sysctls[key]
			return v, ok
		})
		if !strings.Contains(got.Error(), tt.want) || !errors.Is(got, tt.err) {
			t.Errorf("%s: %v, want %q", tt.name, got, tt.want)
		}
	}
}

// The child answers each request with its errno, and ends with the input or at a
// request that it does not know.
func TestCollectAnswers(t *testing.T) {
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.WriteFile("/proc/self/comm", name, 0) }()
	for _, tt := range []struct {
		requests, answers, err string
	}{
		{"", "", ""},
		{"limit user.no_such_limit 5\n", "2\n", ""},
		{"explode\n", "", `unknown request ["explode"]`},
		{"limit user.no_such_limit\n", "", "unknown request"},
		{"\n", "", "unknown request"},
	} {
		var answers strings.Builder
		err := Collect(strings.NewReader(tt.requests), &answers)
		if answers.String() != tt.answers || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: answers %q, error %v; want %q, %q", tt.requests, answers.String(), err, tt.answers, tt.err)
		}
	}
}
