package workload

import (
	"os"
	"slices"
	"strings"
	"sync"
)

// position is how far a walk down a cgroup path has come, as far as it matters
// to where the kubelet makes the cgroups of pods: at the root of the hierarchy,
// below systemd slices, or below one directory there (--cgroup-root). systemd
// and root alone make these. What lies below a container or a unit may be
// delegated, and its processes choose the names.
type position struct {
	where    where
	relative bool // the path began with "..", so its first part is not at the root
	parts    int
	docker   bool      // the last part is the directory of Docker's containers
	own      container // the one of these that may be a node of kind
}

type where int

const (
	atTop        where = iota // slices alone so far
	inCgroupRoot              // in a directory that --cgroup-root may name
	inNode                    // in a Docker container that may be a node of kind
	inNodeRoot                // in the directory kubelet of that
	inRuntime                 // in the unit of a container runtime
	inKubepods                // in kubepods, above the pods
	elsewhere                 // no pod's cgroup is below
)

// enter goes down one part. joined: the part also holds the id of a container.
func (p *position) enter(part string, joined bool) {
	first, docker := p.parts == 0, p.docker
	p.parts++
	p.docker = first && (part == "docker" || part == "system.slice")
	slice := strings.HasSuffix(part, ".slice")
	switch p.where {
	case atTop:
		switch {
		case isKubepods(part):
			p.where = inKubepods
		case slice:
		case docker && containerID(part) != "":
			p.where = below(!p.relative && p.own.mayBe(containerID(part)), inNode)
		case slices.Contains(runtimeUnits, part):
			p.where = inRuntime
		case p.docker: // a container, or nothing, is below
		case first && isCgroupRoot(part, p.relative):
			p.where = inCgroupRoot
		default:
			p.where = elsewhere
		}
	case inCgroupRoot:
		p.where = below(isKubepods(part), inKubepods)
	case inNode: // kind gives its kubelets --cgroup-root=/kubelet
		p.where = below(part == "kubelet" || part == "kubelet.slice", inNodeRoot)
	case inNodeRoot:
		p.where = below(part == "kubepods" || part == "kubelet-kubepods.slice", inKubepods)
	case inRuntime: // the cgroupfs driver, given a path relative to its own cgroup
		p.where = below(joined && isKubepods(part), inKubepods)
	case inKubepods:
		ok := part == "burstable" || part == "besteffort" || isKubepods(part) && slice || podUID(part) != ""
		p.where = below(ok, inKubepods)
	case elsewhere:
	}
}

// container is the Docker container that this process is in. Of all containers only that
// one can be a node of kind whose pods this process sees: another one has chosen the names
// below its cgroup.
type container struct {
	id      string // "": in none
	unknown bool   // a cgroup namespace hides it, and the node is a container
}

func (n container) mayBe(container string) bool { return n.unknown || n.id == container }

// ownContainer is read once: a process stays in its container.
var ownContainer = sync.OnceValue(func() container {
	cgroup, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return container{}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return container{}
	}
	return ownContainerOf(string(cgroup), string(mounts))
})

// ownContainerOf: in a cgroup namespace of its own, as most pods have, this process
// does not see which container it is in. It does see whether the node is one.
func ownContainerOf(cgroup, mounts string) container {
	n := containerOf(cgroup)
	n.unknown = n.unknown && nodeIsContainer(mounts)
	return n
}

// nodeIsContainer reports whether the node of this pod is a container, by its own
// mountinfo (proc_pid_mountinfo(5)), in which no tenant writes. The kubelet gives each
// container these two files out of its directory, which is in a volume of Docker or
// Podman where the node is a container of kind, k3d or minikube.
func nodeIsContainer(mounts string) bool {
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 5 || f[4] != "/etc/hosts" && f[4] != "/dev/termination-log" {
			continue
		}
		_, volume, ok := strings.Cut(f[3], "/volumes/")
		if ok && strings.Contains(volume, "/_data/") && strings.Contains(volume, "/pods/") {
			return true
		}
	}
	return false
}

// containerOf returns the container of a process with this /proc/PID/cgroup.
func containerOf(cgroup string) container {
	n := container{unknown: true}
	for line := range strings.Lines(cgroup) {
		_, path, _ := strings.Cut(strings.TrimSpace(line), ":/")
		parts := strings.Split(path, "/")
		if path == "" || parts[0] == ".." {
			continue // the root of a cgroup namespace, or of the hierarchy
		}
		n.unknown = false
		if (parts[0] == "docker" || parts[0] == "system.slice") && len(parts) > 1 && n.id == "" {
			n.id = containerID(parts[1])
		}
	}
	return n
}

func below(ok bool, next where) where {
	if ok {
		return next
	}
	return elsewhere
}

// runtimeUnits are the units in which a container runtime runs.
var runtimeUnits = []string{
	"containerd.service", "docker.service", "cri-docker.service", "crio.service",
	"k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service",
	"k0scontroller.service", "k0sworker.service",
	"snap.microk8s.daemon-containerd.service", "snap.microk8s.daemon-kubelite.service",
}

// isCgroupRoot reports whether the kubelet may have this first part of a path as
// its --cgroup-root. A container and a unit are not, nor is a container of LXC.
func isCgroupRoot(part string, relative bool) bool {
	if part == "kubelet" {
		return true
	}
	return !relative && unit(part) == "" && containerID(part) == "" && !strings.HasPrefix(part, "lxc") && !strings.ContainsRune(part, ':')
}
