package hostconfig

import (
	"slices"
	"strings"

	"github.com/nodetune/nodetune/internal/workload"
)

// KubeletCandidate is a process that may be this node's kubelet. Its name says
// nothing: each process chooses it. What the kernel says decides.
type KubeletCandidate struct {
	Comm   string
	Exe    string // base name of its program, "" where it cannot be read
	Euid   uint32
	NsPIDs int    // pid namespaces it is in, as this procfs sees it; 0: not known
	Cgroup string // its path

	// Mounts says whether it is in the mount namespace of PID 1, and SameRoot
	// whether its /var/lib/kubelet, or Docker's data-root, is the host's: Docker in
	// a snap has a mount namespace of its own. Neither is known without
	// CAP_SYS_PTRACE.
	Mounts, SameRoot Tristate
}

// Tristate is yes, no, or not known.
type Tristate int

// The values of Tristate.
const (
	Unknown Tristate = iota
	Yes
	No
)

// Is returns Yes for true and No for false.
func Is(b bool) Tristate {
	if b {
		return Yes
	}
	return No
}

// KubeletNames are the comms of programs that contain a kubelet: with k3s,
// MicroK8s and MicroShift it is no program of its own.
var KubeletNames = map[string]bool{
	"kubelet": true, "hyperkube": true, "kubelite": true, "k3s-server": true, "k3s-agent": true, "microshift": true,
}

// IsKubelet reports whether c is the kubelet of this host. That is a process of
// root in the host's pid namespace, in no pod, and either in the host's mount
// namespace or, where a container runs the host's kubelet (Talos, RKE1), with
// the host's own /var/lib/kubelet. A container on the host, such as a node of
// kind or k3d, has a pid namespace or a directory of its own.
func IsKubelet(c KubeletCandidate) bool {
	return KubeletNames[c.Comm] && (c.Exe == "" || isProgram(c.Exe)) && onHost(c)
}

// onHost reports whether the host's root runs c, for the host.
func onHost(c KubeletCandidate) bool {
	if c.Euid != 0 || c.NsPIDs != 1 || podOf(c.Cgroup) {
		return false
	}
	switch {
	case c.Mounts == Yes || c.SameRoot == Yes:
		return true
	case c.Mounts == No || inContainer(c.Cgroup):
		return false
	}
	// What its mount namespace is cannot be seen; root outside of any container
	// is the host's administrator.
	return true
}

// isProgram reports whether a file of this name may be the program: a version
// may follow, as in kubelet-v1.34. An interpreter is not.
func isProgram(exe string) bool {
	exe = strings.TrimSuffix(exe, " (deleted)") // upgraded, not yet restarted
	return slices.ContainsFunc([]string{"kubelet", "hyperkube", "kubelite", "k3s", "microshift"}, func(name string) bool {
		return strings.HasPrefix(exe, name)
	})
}

// podOf reports whether a cgroup is a pod's. Seen from a cgroup namespace of a
// pod beside it, only its end is visible: /../../podUID/ID.
func podOf(cgroup string) bool {
	if workload.FromCgroupPath(cgroup).PodUID != "" {
		return true
	}
	for part := range strings.SplitSeq(cgroup, "/") {
		name := strings.TrimSuffix(part, ".slice")
		if i := strings.LastIndex(name, "-pod"); i >= 0 {
			name = name[i+1:]
		}
		uid, ok := strings.CutPrefix(name, "pod")
		if ok && len(strings.Map(hexDigit, uid)) == 32 {
			return true
		}
	}
	return false
}

func inContainer(cgroup string) bool {
	return workload.FromCgroupPath(cgroup).ContainerID != ""
}

// hexDigit keeps the digits of a UID, and drops what separates them.
func hexDigit(r rune) rune {
	if r >= '0' && r <= '9' || r >= 'a' && r <= 'f' {
		return r
	}
	return -1
}

// IsDocker reports whether c is the Docker daemon of this host.
func IsDocker(c KubeletCandidate) bool {
	return c.Comm == "dockerd" && onHost(c)
}
