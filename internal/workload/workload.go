// Package workload says whom a process or a log file belongs to: the pod and
// container, or the systemd unit, without asking any API.
//
// It reads names only: the text of /proc/PID/cgroup, the directory names below
// /var/log/pods (NAMESPACE_POD_UID) and the link names in /var/log/containers
// (POD_NAMESPACE_CONTAINER-ID.log). No link is followed and no log is opened.
// uid 0 without capabilities suffices: the kubelet keeps /var/log/pods 0750.
//
// The names are hints for people and labels, not proof of identity: the
// owner of a delegated cgroup names what is below it. So the outermost pod of a
// path counts, which is the one this node's kubelet made, and nothing below
// user.slice is ever taken for a pod. Do not act upon a file because of them.
package workload

// Workload is whom something belongs to, as far as it is known: a container of
// a pod, a container alone, or a systemd unit.
type Workload struct {
	Namespace   string `json:"namespace,omitempty"`
	Pod         string `json:"pod,omitempty"`
	Container   string `json:"container,omitempty"`
	PodUID      string `json:"pod_uid,omitempty"` // of a static pod: the kubelet's hash of its manifest
	ContainerID string `json:"container_id,omitempty"`
	Unit        string `json:"unit,omitempty"` // only where it is no pod's
}

// isPodUID reports whether s is what the API server (a UUID) or the kubelet
// (for static pods 32 hexadecimal digits) gives a pod.
func isPodUID(s string) bool {
	switch len(s) {
	case 32:
		return isHex(s)
	case 36:
		return s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' &&
			isHex(s[:8]) && isHex(s[9:13]) && isHex(s[14:18]) && isHex(s[19:23]) && isHex(s[24:])
	}
	return false
}

// isContainerID reports whether s is an id as containerd's and CRI-O's CRI,
// Docker and Podman make them.
func isContainerID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
