package sysctld

import (
	"bytes"
	"context"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/privtest"
)

// programs are the loaders as Debian has them.
var programs = map[Loader]string{
	Systemd: "/lib/systemd/systemd-sysctl",
	Procps:  "/sbin/sysctl --system",
}

// before is a value that no case sets.
func before(path string) string {
	if strings.HasPrefix(path, "net/") {
		return "0"
	}
	return "16999"
}

// TestLoaders runs the loaders themselves on every case, in mount and network
// namespaces of their own: the case's directories lie over the host's, and the
// key is a real one.
func TestLoaders(t *testing.T) {
	privtest.Host(t)
	for _, c := range bootCases {
		t.Run(c.name, func(t *testing.T) {
			root := plant(t, c.files)
			for loader, want := range map[Loader]string{Systemd: c.systemd, Procps: c.procps} {
				got, output := load(t, root, programs[loader], c.path(), before(c.path()))
				if got != want {
					t.Errorf("%s left %q, want %q\n%s", programs[loader], got, want, output)
				}
			}
		})
	}
}

// TestTwins: what is written under one name is read under the other.
func TestTwins(t *testing.T) {
	privtest.Host(t)
	for _, pair := range twins {
		one, other := strings.ReplaceAll(pair[0], "/", "."), strings.ReplaceAll(pair[1], "/", ".")
		privtest.Set(t, one, "17001")
		if got := privtest.Get(t, other); got != "17001" {
			t.Errorf("%s holds 17001, %s holds %s", one, other, got)
		}
	}
}

// load runs program over the files of root and returns what it left in path,
// which held before: "" where it left it alone.
func load(t *testing.T, root, program, path, before string) (value, output string) {
	t.Helper()
	script := `set -e
for d in etc run usr/local/lib usr/lib/sysctl.d; do mount --bind "$1/$d" "/$d"; done
case $3 in net/*) ip link add eth0.100 type dummy || ip link add eth0.100 type bridge ;; esac
echo "$4" > "/proc/sys/$3"
$2 >&2 || true
after=$(cat "/proc/sys/$3")
[ "$after" = "$4" ] || echo "$after"
`
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script, "sh", root, program, path, before)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), stderr.String()
}

// canonical is the number that the kernel makes of value.
func canonical(t *testing.T, value string) string {
	t.Helper()
	n, err := strconv.ParseUint(strings.Fields(value)[0], 0, 63)
	if err != nil {
		t.Fatalf("a value that does not parse wins: %v", err)
	}
	return strconv.FormatUint(n, 10)
}
