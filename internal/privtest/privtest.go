// Package privtest guards tests that need root or change this machine's
// kernel settings.
//
// Such a test runs only when it is asked for, with NODETUNE_TEST_PRIVILEGED=1
// (`make test` sets it), never merely because the uid is 0: `sudo go test`
// must not retune a workstation. Where it is asked for, a missing privilege is
// a failure and not a skip.
package privtest

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Env is the variable that asks for privileged tests.
const Env = "NODETUNE_TEST_PRIVILEGED"

// Root skips t unless privileged tests were asked for, and fails it when they
// were and the process is not uid 0.
func Root(t testing.TB) {
	t.Helper()
	if os.Getenv(Env) != "1" {
		t.Skipf("changes the machine or needs root: set %s=1", Env)
	}
	if os.Geteuid() != 0 {
		t.Fatalf("%s=1, but the effective uid is %d, not 0", Env, os.Geteuid())
	}
}

// Host is [Root], and holds the machine's kernel settings for t alone: go test
// runs packages side by side, and there is one fs.inotify.max_user_instances
// for all of them. Every setting below /proc/sys/fs/inotify and the other keys
// nodetune manages is put back when t ends.
func Host(t testing.TB) {
	t.Helper()
	Root(t)
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "nodetune-kernel.lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatalf("open the lock of the kernel settings: %v", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("lock the kernel settings: %v", err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	for _, key := range managed {
		Keep(t, key)
	}
}

// managed are the keys of the default profile.
var managed = []string{
	"fs.inotify.max_user_instances",
	"fs.inotify.max_user_watches",
	"fs.inotify.max_queued_events",
	"fs.epoll.max_user_watches",
	"fs.file-max",
	"fs.nr_open",
}

// Keep puts the running value of key back when t ends.
func Keep(t testing.TB, key string) {
	t.Helper()
	was := Get(t, key)
	t.Cleanup(func() {
		if Get(t, key) != was {
			Set(t, key, was)
		}
	})
}

// Get returns the running value of key.
func Get(t testing.TB, key string) string {
	t.Helper()
	b, err := os.ReadFile(path(key))
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return strings.TrimSpace(string(b))
}

// Set writes value to key and fails t where the kernel does not take it. Use
// it between [Host] and the end of t only.
func Set(t testing.TB, key, value string) {
	t.Helper()
	if err := os.WriteFile(path(key), []byte(value), 0); err != nil {
		t.Fatalf("write %s to %s: %v", value, key, err)
	}
	if got := Get(t, key); got != value {
		t.Fatalf("wrote %s to %s, read back %s", value, key, got)
	}
}

func path(key string) string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
}
