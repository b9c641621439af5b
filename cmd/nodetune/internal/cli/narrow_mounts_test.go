package cli

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/privtest"
)

// In a container that has three mounts of /proc/sys/fs and nothing else, as the
// component minimal gives them, floors are raised and other keys are not absent.
func TestApplyThroughNarrowMounts(t *testing.T) {
	untouched(t)
	cmd := exec.Command("unshare", "--mount", "sh", "-c", `set -e
mount -t tmpfs none "$1"
mkdir -p "$1/sys/fs/inotify" "$1/sys/fs/epoll" "$1/sys/kernel/random" "$1/root"
touch "$1/sys/fs/file-max" "$1/sys/kernel/random/boot_id" "$1/meminfo"
for f in sys/fs/inotify sys/fs/epoll sys/fs/file-max; do mount --bind "/proc/$f" "$1/$f"; done
for f in sys/kernel/random/boot_id meminfo; do mount --bind "/proc/$f" "$1/$f"; mount -o remount,bind,ro "$1/$f"; done
exec "$2" apply -o json --path.procfs "$1" --path.rootfs "$1/root"`, "sh", t.TempDir(), build(t))
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || exit.ExitCode() != exitUnmet) {
		t.Fatalf("%v\n%s", err, out)
	}
	var doc struct {
		Sysctl struct {
			Rules []struct{ Key, Outcome, Reason string }
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, r := range doc.Sysctl.Rules {
		switch {
		case strings.HasPrefix(r.Key, "fs.inotify."), strings.HasPrefix(r.Key, "fs.epoll."), r.Key == "fs.file-max":
			if r.Outcome != "InForce" {
				t.Errorf("%s: %s: %s, want InForce", r.Key, r.Outcome, r.Reason)
			}
		case r.Outcome != "Failed" || !strings.Contains(r.Reason, "is not mounted below"):
			t.Errorf("%s: %s: %s, want that it is not mounted", r.Key, r.Outcome, r.Reason)
		}
	}
	if got := privtest.Get(t, "fs.inotify.max_user_instances"); got != "8192" {
		t.Errorf("max_user_instances is %s, want 8192", got)
	}
}
