package disk

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// runtimes are where container runtimes keep images and containers: containerd,
// Docker, CRI-O and Podman, k3s and RKE2, k0s, MicroK8s.
var runtimes = []string{
	"/var/lib/containerd", "/var/lib/docker", "/var/lib/containers/storage", "/var/lib/rancher/k3s/agent/containerd", "/var/lib/rancher/rke2/agent/containerd",
	"/var/lib/k0s/containerd", "/var/snap/microk8s/common/var/lib/containerd",
}

// journals are where journald keeps its files, journald.conf(5) Storage=.
var journals = []string{"/var/log/journal", "/run/log/journal"}

// places are the paths whose filesystems matter on this host.
func (o *Observer) places(k hostconfig.Kubelet) []filesystem.Place {
	var all []filesystem.Place
	for _, p := range o.policy.LogPaths {
		all = append(all, filesystem.Place{Path: p, Role: filesystem.RoleLogs})
	}
	all = append(all, filesystem.Place{Path: k.PodLogs, Role: filesystem.RoleLogs}, filesystem.Place{Path: k.RootDir, Role: filesystem.RoleKubelet})
	for _, p := range runtimes {
		all = append(all, filesystem.Place{Path: p, Role: filesystem.RoleRuntime})
	}
	if !slices.Contains(runtimes, o.dockerRoot) {
		all = append(all, filesystem.Place{Path: o.dockerRoot, Role: filesystem.RoleRuntime})
	}
	for _, p := range journals {
		all = append(all, filesystem.Place{Path: p, Role: filesystem.RoleJournal})
	}
	for _, p := range o.policy.Filesystems {
		all = append(all, filesystem.Place{Path: p, Role: filesystem.RoleConfigured})
	}
	return all
}

func paths(places []filesystem.Place) []string {
	var all []string
	for _, p := range places {
		if !slices.Contains(all, p.Path) {
			all = append(all, p.Path)
		}
	}
	return all
}

// tops are the directories to scan: those of the containers first, so that a
// directory with two paths is known by the one that names its pod.
func (o *Observer) tops(places []filesystem.Place, errs map[string]error, mounts []filesystem.Mount) []string {
	var dirs []string
	for _, p := range places {
		if p.Role == filesystem.RoleLogs && errs[p.Path] == nil {
			dirs = append(dirs, p.Path)
		}
	}
	for _, p := range slices.Concat(journals, reclaim.CoreDumpDirs) {
		if errs[p] == nil {
			dirs = append(dirs, p)
		}
	}
	if errs[o.dockerRoot] == nil {
		dirs = append(dirs, path.Join(o.dockerRoot, "containers"))
	}
	return filesystem.Roots(o.rootfs, dirs, mounts)
}

// hangs reports whether p lies on a filesystem that has not answered.
func hangs(errs map[string]error, p string) bool {
	for at, err := range errs {
		_, below := hostfs.Below(p, at)
		if _, hung := errors.AsType[*filesystem.HungError](err); hung && below {
			return true
		}
	}
	return false
}

// logDirs returns where the log directories lie.
func (o *Observer) logDirs(places []filesystem.Place, errs map[string]error, mounts []filesystem.Mount) []filesystem.Location {
	var all []filesystem.Location
	for _, p := range places {
		if p.Role != filesystem.RoleLogs || errs[p.Path] != nil {
			continue
		}
		if at, ok := filesystem.Locate(o.rootfs, p.Path, mounts); ok {
			all = append(all, at)
		}
	}
	return all
}

// unreachable finds directories of logs that cannot be seen from here: links that
// lead to what is not mounted into the pod, and a podLogsDir that is not there.
func (o *Observer) unreachable(k hostconfig.Kubelet, errs map[string]error) []Finding {
	var found []Finding
	dirs := slices.Concat(o.policy.LogPaths, []string{k.PodLogs, path.Join(o.dockerRoot, "containers")}, journals)
	slices.Sort(dirs)
	for _, p := range slices.Compact(dirs) {
		if hangs(errs, p) {
			continue // the state of the filesystem shows it
		}
		link, target, err := filesystem.BrokenLink(o.rootfs, p)
		switch {
		case err != nil && link != "":
			found = append(found, Finding{
				Reason: FindingNotSeen, Severity: SeverityWarning, Path: p,
				Message: fmt.Sprintf("%s cannot be opened: %s is a link to %s, which cannot be reached from here (%v). The logs in it are not seen, and nothing there is rotated or reclaimed", p, link, target, err),
				Do:      fmt.Sprintf("mount the host's %s at the same path below --path.rootfs (a hostPath volume in a pod), or remove the link", target),
			})
		case err != nil && !errors.Is(err, unix.ENOENT):
			found = append(found, Finding{
				Reason: FindingNotSeen, Severity: SeverityWarning, Path: p,
				Message: fmt.Sprintf("%s cannot be opened (%v): the logs in it are not seen", p, err),
				Do:      "mount the directory below --path.rootfs, and grant CAP_DAC_READ_SEARCH where its mode excludes root",
			})
		case err != nil && p == k.PodLogs && p != "/"+workload.PodLogs:
			found = append(found, Finding{
				Reason: FindingNotSeen, Severity: SeverityWarning, Path: p,
				Message: fmt.Sprintf("the kubelet's podLogsDir is %s, which does not exist here: the logs of containers are not seen", p),
				Do:      fmt.Sprintf("mount the host's %s at the same path below --path.rootfs (a hostPath volume in a pod)", p),
			})
		}
	}
	return found
}

// findDockerRoot returns Docker's data-root, its default where the configuration
// cannot be read.
func (o *Observer) findDockerRoot() string {
	root, done, err := hostfs.WithEtc(o.procfs, o.rootfs)
	if err != nil {
		return hostconfig.DockerDataDir
	}
	defer done()
	c, _, _ := hostconfig.ReadDocker(root.Files(), o.cmdline(o.walked.docker)) // readHost reports the error
	return c.DataRoot
}
