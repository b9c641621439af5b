package workload

import (
	"strconv"
	"strings"
)

// Where the kubelet keeps containers' logs and the links to them, below the
// root of the host.
const (
	PodLogs       = "var/log/pods"
	ContainerLogs = "var/log/containers"
)

// Log is one log file of a container.
type Log struct {
	Workload
	Restart int    // N of N.log: how often the container had restarted
	Rotated string // the suffix after N.log: "", .20060102-150405, .20060102-150405.gz, …
}

// ParseLogPath returns whose log this absolute path of the host is: below
// /var/log/pods, or a link in /var/log/containers. Cut a rootfs mount point off
// before.
func ParseLogPath(path string) (Log, bool) {
	if rel, ok := strings.CutPrefix(path, "/"+PodLogs+"/"); ok {
		return ParsePodLog(rel)
	}
	if name, ok := strings.CutPrefix(path, "/"+ContainerLogs+"/"); ok {
		w, ok := ParseContainerLink(name)
		return Log{Workload: w}, ok
	}
	return Log{}, false
}

// ParsePodLog parses NAMESPACE_POD_UID/CONTAINER/N.log, rotated or not, as the
// kubelet names it below /var/log/pods.
func ParsePodLog(rel string) (Log, bool) {
	dir, rest, ok := strings.Cut(rel, "/")
	if !ok {
		return Log{}, false
	}
	container, name, ok := strings.Cut(rest, "/")
	if !ok || !isLabel(container) {
		return Log{}, false
	}
	w, ok := ParsePodDir(dir)
	if !ok {
		return Log{}, false
	}
	w.Container = container
	n, rotated, ok := strings.Cut(name, ".log")
	if !ok || strings.ContainsRune(rotated, '/') || rotated != "" && rotated[0] != '.' {
		return Log{}, false
	}
	restart, err := strconv.ParseUint(n, 10, 31)
	if err != nil || n != strconv.FormatUint(restart, 10) {
		return Log{}, false
	}
	return Log{Workload: w, Restart: int(restart), Rotated: rotated}, true
}

// ParsePodDir parses NAMESPACE_POD_UID, a directory of /var/log/pods.
func ParsePodDir(name string) (Workload, bool) {
	namespace, rest, ok := strings.Cut(name, "_")
	if !ok || !isLabel(namespace) {
		return Workload{}, false
	}
	pod, uid, ok := strings.Cut(rest, "_")
	if !ok || !isSubdomain(pod) || !isPodUID(uid) {
		return Workload{}, false
	}
	return Workload{Namespace: namespace, Pod: pod, PodUID: uid}, true
}

// ParseContainerLink parses POD_NAMESPACE_CONTAINER-ID.log, a link in
// /var/log/containers.
func ParseContainerLink(name string) (Workload, bool) {
	name, ok := strings.CutSuffix(name, ".log")
	if !ok {
		return Workload{}, false
	}
	pod, rest, ok := strings.Cut(name, "_")
	if !ok || !isSubdomain(pod) {
		return Workload{}, false
	}
	namespace, rest, ok := strings.Cut(rest, "_")
	if !ok || !isLabel(namespace) {
		return Workload{}, false
	}
	i := strings.LastIndexByte(rest, '-')
	if i < 0 || !isLabel(rest[:i]) || !isContainerID(rest[i+1:]) {
		return Workload{}, false
	}
	return Workload{Namespace: namespace, Pod: pod, Container: rest[:i], ContainerID: rest[i+1:]}, true
}

// isLabel and isSubdomain are RFC 1123 as Kubernetes checks it, so a name that
// passes holds neither a separator nor anything a terminal would obey.
func isLabel(s string) bool {
	return len(s) <= 63 && !strings.ContainsRune(s, '.') && isSubdomain(s)
}

func isSubdomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	edge := true // at the beginning or beside a dot a dash may not stand
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			edge = false
		case c == '-' && !edge:
			if i+1 == len(s) || s[i+1] == '.' {
				return false
			}
		case c == '.' && !edge:
			edge = true
		default:
			return false
		}
	}
	return !edge
}
