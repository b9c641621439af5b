package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// guardTests of sysctl/guard are those that need no other program. They run as
// root with every capability and cgroup v2 alone.
var guardTests = []string{
	"TestObserve", "TestNumbers", "TestHold", "TestHoldSwitches", "TestNotStrict", "TestUser", "TestUserNamespace",
	"TestNothingStays", "TestPrivateMount", "TestCgroups",
}

const guardScript = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp NODETUNE_TEST_PRIVILEGED=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec > /dev/ttyS1 2>&1
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ulimit -n 100000
guard.test -test.v -test.run "^($TESTS)$"
poweroff -f
`

// TestGuard: the sysctl guard loads and holds on that kernel, which ignores
// what a program sets in place of a written value.
func TestGuard(t *testing.T) {
	root := t.TempDir()
	bin := filepath.Join(root, "bin")
	for _, dir := range []string{"bin", "proc", "sys", "dev", "tmp"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "cp", "/bin/busybox", bin)
	run(t, "go", "-C", "../..", "test", "-c", "-o", filepath.Join(bin, "guard.test"), "./sysctl/guard")
	write(t, filepath.Join(root, "init"), strings.ReplaceAll(guardScript, "$TESTS", strings.Join(guardTests, "|")))
	requirePassed(t, boot(t, root), guardTests)
}
