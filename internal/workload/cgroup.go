package workload

import (
	"bytes"
	"strings"
)

// ParseCgroup returns whom the process with this /proc/PID/cgroup
// (cgroups(7)) belongs to. On cgroup v1 and hybrid hosts a runtime may place a
// process in some hierarchies only, so every line is asked: a container beats
// a pod, which beats a unit.
func ParseCgroup(b []byte) Workload {
	var best Workload
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		// hierarchy-ID:controller-list:cgroup-path; the path may hold colons.
		_, rest, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		_, path, ok := bytes.Cut(rest, []byte{':'})
		if !ok || len(path) <= 1 {
			continue
		}
		if w := FromCgroupPath(string(path)); w.rank() > best.rank() {
			best = w
		}
	}
	return best
}

func (w Workload) rank() int {
	switch {
	case w.PodUID != "" && w.ContainerID != "":
		return 4
	case w.PodUID != "":
		return 3
	case w.ContainerID != "":
		return 2
	case w.Unit != "":
		return 1
	}
	return 0
}

// FromCgroupPath returns the owner of the cgroup of this path: pod UID and
// container id, or the systemd unit. It knows the cgroupfs and systemd drivers
// of the kubelet with containerd, CRI-O, Docker (dockershim, cri-dockerd) and
// Podman. A pod counts only where the kubelet makes its cgroups (see position):
// a process can make directories of any name below a cgroup that is its own.
func FromCgroupPath(path string) Workload { return fromCgroupPath(path, ownContainer()) }

func fromCgroupPath(path string, own container) Workload {
	var w Workload
	user := strings.HasPrefix(path, "/user.slice/")
	inSlices, at := true, position{own: own}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			at.relative = at.relative || part == ".."
			continue // seen from inside a cgroup namespace: /../../kubepods
		}
		// containerd's cgroupfs driver given a systemd path makes one part of
		// slice, prefix and id: kubepods-podUID.slice:cri-containerd:ID
		slice, id := part, part
		if i := strings.IndexByte(part, ':'); i > 0 {
			slice, id = part[:i], part[strings.LastIndexByte(part, ':')+1:]
		}
		if inSlices && !strings.HasSuffix(slice, ".slice") {
			inSlices = false
			w.Unit = unit(part)
		}
		at.enter(slice, slice != part)
		if w.PodUID == "" && at.where == inKubepods && !user {
			if uid := podUID(slice); uid != "" {
				// A container outside the pod is the node's own (kind).
				w = Workload{PodUID: uid}
				at.where = elsewhere
				if slice == part {
					continue
				}
			}
		}
		if w.ContainerID == "" {
			w.ContainerID = containerID(id)
		}
	}
	if w.PodUID != "" || w.ContainerID != "" && !user {
		w.Unit = ""
	}
	return w
}

// isKubepods: kubepods, kubepods.slice, kubepods-burstable-pod….slice, and with
// --cgroup-root=/kubelet kubelet-kubepods.slice.
func isKubepods(part string) bool {
	if part == "kubepods" {
		return true
	}
	name, ok := strings.CutSuffix(part, ".slice")
	if !ok {
		return false
	}
	for word := range strings.SplitSeq(name, "-") {
		if word == "kubepods" {
			return true
		}
	}
	return false
}

// podUID returns the UID in podUID (cgroupfs) or ….-podUID.slice (systemd,
// where the dashes of the UID are written as underscores), or "".
func podUID(part string) string {
	name, systemd := strings.CutSuffix(part, ".slice")
	if systemd {
		i := strings.LastIndex(name, "-pod")
		if i < 0 {
			return ""
		}
		name = strings.ReplaceAll(name[i+1:], "_", "-")
	}
	uid, ok := strings.CutPrefix(name, "pod")
	if !ok || !isPodUID(uid) {
		return ""
	}
	return uid
}

// containerID returns the id in ID, PREFIX-ID and PREFIX-ID.scope, or "".
// Conmon, CRI-O's and Podman's monitor, is not part of the container.
func containerID(part string) string {
	name := strings.TrimSuffix(part, ".scope")
	i := strings.LastIndexByte(name, '-')
	if !isContainerID(name[i+1:]) || strings.HasSuffix(name[:i+1], "conmon-") {
		return ""
	}
	return name[i+1:]
}

// unit returns the systemd unit of a cgroup directory, or "". systemd puts an
// underscore before names the kernel might use itself (sd-login's cg_escape).
func unit(part string) string {
	for _, suffix := range [...]string{".service", ".scope", ".socket", ".mount", ".swap"} {
		if strings.HasSuffix(part, suffix) && len(part) > len(suffix) {
			return strings.TrimPrefix(part, "_")
		}
	}
	return ""
}
