package disk

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// kubeletCandidate is a process that may be this node's kubelet. Its name says
// nothing: each process chooses it. What the kernel says decides.
type kubeletCandidate struct {
	comm   string
	exe    string // base name of its program, "" where it cannot be read
	euid   uint32
	nsPIDs int    // pid namespaces it is in, as this procfs sees it; 0: not known
	cgroup string // its path

	// mounts says whether it is in the mount namespace of PID 1, and sameRoot
	// whether its /var/lib/kubelet is the host's. Neither is known without
	// CAP_SYS_PTRACE.
	mounts, sameRoot tristate
}

// tristate is yes, no, or not known.
type tristate int

const (
	unknown tristate = iota
	yes
	no
)

func is(b bool) tristate {
	if b {
		return yes
	}
	return no
}

// kubeletNames are the comms of programs that contain a kubelet: with k3s,
// MicroK8s and MicroShift it is no program of its own.
var kubeletNames = map[string]bool{
	"kubelet": true, "hyperkube": true, "kubelite": true, "k3s-server": true, "k3s-agent": true, "microshift": true,
}

// isKubelet reports whether c is the kubelet of this host. That is a process of
// root in the host's pid namespace, in no pod, and either in the host's mount
// namespace or, where a container runs the host's kubelet (Talos, RKE1), with
// the host's own /var/lib/kubelet. A container on the host, such as a node of
// kind or k3d, has a pid namespace or a directory of its own.
func isKubelet(c kubeletCandidate) bool {
	return kubeletNames[c.comm] && (c.exe == "" || isProgram(c.exe)) && onHost(c)
}

// onHost reports whether the host's root runs c, for the host.
func onHost(c kubeletCandidate) bool {
	if c.euid != 0 || c.nsPIDs != 1 || podOf(c.cgroup) {
		return false
	}
	switch {
	case c.mounts == yes || c.sameRoot == yes:
		return true
	case c.mounts == no || inContainer(c.cgroup):
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

// isDocker reports whether c is the Docker daemon of this host.
func isDocker(c kubeletCandidate) bool {
	return c.comm == "dockerd" && onHost(c)
}

// hostProcess is a process that was taken for the kubelet or the Docker daemon.
type hostProcess struct {
	pid   int
	start uint64
}

// consider returns the process after another one was seen that fits as well. That
// of the walk before stays for as long as it lives; otherwise the one that was
// started first is taken.
func (k hostProcess) consider(p, before hostProcess) hostProcess {
	if k.pid == 0 || p == before || k != before && p.start < k.start {
		return p
	}
	return k
}

// hostProcess looks whether p is the kubelet or the Docker daemon.
func (s *seen) hostProcess(p *procwalk.Process, st *procwalk.Stat) {
	c, ok := s.candidate(p, st.Comm())
	if !ok {
		return
	}
	this := hostProcess{p.PID, st.Start}
	if isKubelet(c) {
		s.kubelet = s.kubelet.consider(this, s.follow.kubelet)
	}
	if isDocker(c) {
		s.docker = s.docker.consider(this, hostProcess{})
	}
}

// candidate returns what is known of p, ok is false for another program. It
// reads further files only of a process that has one of the names.
func (s *seen) candidate(p *procwalk.Process, comm []byte) (c kubeletCandidate, ok bool) {
	if p.PID != p.TID || !kubeletNames[string(comm)] && string(comm) != "dockerd" {
		return c, false
	}
	ids, err := p.UIDs()
	if err != nil {
		return c, false
	}
	cgroup, err := p.Cgroup()
	if err != nil {
		return c, false
	}
	c = kubeletCandidate{comm: string(comm), euid: ids.Effective, cgroup: string(cgroup)}
	dir := filepath.Join(s.procfs, strconv.Itoa(p.PID))
	c.nsPIDs = countNSPIDs(filepath.Join(dir, "status"))
	if c.comm == "hyperkube" {
		// It is each of Kubernetes' programs, by its first argument.
		b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if args := strings.Split(string(b), "\x00"); err != nil || len(args) < 2 || args[1] != "kubelet" {
			return c, false
		}
	}
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		c.exe = path.Base(exe)
	}
	c.mounts = sameLink(filepath.Join(dir, "ns/mnt"), filepath.Join(s.procfs, "1/ns/mnt"))
	if c.mounts != yes {
		c.sameRoot = sameDir(filepath.Join(dir, "root"), filepath.Join(s.procfs, "1/root"), "/var/lib/kubelet")
	}
	return c, true
}

// sameLink compares what two links of /proc lead to.
func sameLink(a, b string) tristate {
	x, err := os.Readlink(a)
	if err != nil {
		return unknown
	}
	y, err := os.Readlink(b)
	if err != nil {
		return unknown
	}
	return is(x == y)
}

// sameDir reports whether the directory p below the roots a and b is the same
// one. Where it is missing below one of them it is not.
func sameDir(a, b, p string) tristate {
	var st [2]unix.Statx_t
	for i, root := range []string{a, b} {
		host, err := openRoot(root)
		if err != nil {
			return unknown
		}
		dir, err := host.openDir(p, unix.O_PATH)
		_ = host.close()
		if err != nil {
			return no
		}
		err = statx(dir, itself, &st[i])
		_ = unix.Close(dir)
		if err != nil {
			return unknown
		}
	}
	return is(st[0].Ino == st[1].Ino && st[0].Dev_major == st[1].Dev_major && st[0].Dev_minor == st[1].Dev_minor)
}

// countNSPIDs returns how many pids a process has: one for each pid namespace
// from that of the procfs to its own (NSpid in proc_pid_status(5), Linux 4.1).
func countNSPIDs(status string) int {
	b, err := os.ReadFile(status)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return len(strings.Fields(rest))
		}
	}
	return 0
}
