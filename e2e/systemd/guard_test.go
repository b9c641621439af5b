package systemd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/e2e/cluster"
)

// With the drop-in the agent of a host has the sysctl guard within its sandbox: a service
// that lowers a floor is undone at once, and named.
func TestGuardDropIn(t *testing.T) {
	lower(t)
	h := newHost(t)
	// The cgroups of this systemd are below one of the machine: this one is where a host's is.
	const cgroup = "/cgroup/system.slice/lowers.service"
	h.write(t, "etc/systemd/system/lowers.service", `[Service]
Type=oneshot
ExecStart=/bin/sh -ec 'mkdir -p `+cgroup+`; echo $$$$ > `+cgroup+`/cgroup.procs; exec sysctl -w fs.inotify.max_user_instances=128'
ExecStopPost=/bin/sh -c 'rmdir `+cgroup+`; rmdir /cgroup/system.slice; true'
`)
	h.boot(t)
	h.install(t)
	hierarchy := h.run(t, "cd /sys/fs/cgroup/unified 2>/dev/null || cd /sys/fs/cgroup; pwd")
	shows := func(what, command string, want ...string) {
		t.Helper()
		cluster.Eventually(t, what, func(context.Context) error {
			got := h.run(t, "unshare --mount sh -c 'mount --bind /cgroup "+hierarchy+"; "+command+"' || true")
			for _, text := range want {
				if !strings.Contains(got, text) {
					return fmt.Errorf("there is no %q in\n%s", text, got)
				}
			}
			return nil
		})
	}
	const explain = "nodetune explain fs.inotify.max_user_instances"
	shows("without the drop-in the guard is off", explain, "  guard  ", " off: ", "CAP_BPF")
	conf, err := os.ReadFile(filepath.Join(deploy, "systemd/guard.conf"))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "etc/systemd/system/nodetune.service.d/guard.conf", string(conf))
	h.write(t, "etc/systemd/system/nodetune.service.d/cgroup.conf", "[Service]\nBindPaths=/cgroup:"+hierarchy+"\n")
	h.run(t, "systemctl daemon-reload; systemctl restart nodetune")
	shows("the guard is on", "nodetune check --verbose", "guard: observe")
	h.run(t, "systemctl start lowers")
	shows("explain names the service", explain, "lowered once in the last hour by sysctl[", "] of lowers.service")
	want(t, "8192")
}
