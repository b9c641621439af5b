package disk

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// cmdline returns the NUL-separated arguments of pid, or nothing.
func (o *Observer) cmdline(pid int) []byte {
	if pid == 0 {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(o.procfs, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return nil
	}
	return b
}

// unit returns the systemd unit of pid, "" where it is in none or not known.
func (o *Observer) unit(pid int) string {
	if pid == 0 {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(o.procfs, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return ""
	}
	return workload.ParseCgroup(b).Unit
}

// kubelet finds the kubelet, and the UIDs of the pods it has, nil where they
// are not known. Its files are read below the root of its process where that can
// be opened: a pod has none of its directories mounted, and the kubelet itself
// may live in a container, as on Talos.
func (o *Observer) kubelet() (k hostconfig.Kubelet, pods map[string]bool, found bool, err error) {
	host, done := o.kubeletRoot()
	defer done()
	k, found, err = hostconfig.FindKubelet(o.cmdline(o.walked.kubelet), o.unit(o.walked.kubelet), host.Files())
	if tz, err := host.ReadFile("/etc/localtime"); err == nil {
		if zone, err := time.LoadLocationFromTZData("the host's", tz); err == nil {
			k.Zone = zone
		}
	}
	if names, err := host.List(path.Join(k.RootDir, "pods")); found && err == nil {
		pods = map[string]bool{}
		for _, uid := range names {
			pods[uid] = true
		}
	}
	return k, pods, found, err
}

// kubeletRoot is the root directory of the kubelet's process, or else the host's.
func (o *Observer) kubeletRoot() (host hostfs.Root, done func()) {
	if pid := o.walked.kubelet; pid != 0 {
		if root, err := hostfs.OfProcess(o.procfs, pid); err == nil {
			return root, func() { _ = unix.Close(int(root)) }
		}
	}
	return o.rootfs, func() {}
}
