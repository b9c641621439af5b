package logs

import (
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// hostProcess is a process that was taken for the kubelet or the Docker daemon.
type hostProcess struct {
	Pid   int
	start uint64
}

// consider returns the process after another one was seen that fits as well. That
// of the walk before stays for as long as it lives; otherwise the one that was
// started first is taken.
func (k hostProcess) consider(p, before hostProcess) hostProcess {
	if k.Pid == 0 || p == before || k != before && p.start < k.start {
		return p
	}
	return k
}

// hostProcess looks whether p is the kubelet or the Docker daemon.
func (s *ProcSnapshot) hostProcess(p *procwalk.Process, st *procwalk.Stat) {
	c, ok := s.candidate(p, st.Comm())
	if !ok {
		return
	}
	this := hostProcess{p.PID, st.Start}
	if hostconfig.IsKubelet(c) {
		s.Kubelet = s.Kubelet.consider(this, s.follow.Kubelet)
	}
	if hostconfig.IsDocker(c) {
		s.Docker = s.Docker.consider(this, hostProcess{})
	}
}

// candidate returns what is known of p, ok is false for another program. It
// reads further files only of a process that has one of the names.
func (s *ProcSnapshot) candidate(p *procwalk.Process, comm []byte) (c hostconfig.KubeletCandidate, ok bool) {
	if p.PID != p.TID || !hostconfig.KubeletNames[string(comm)] && string(comm) != "dockerd" {
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
	c = hostconfig.KubeletCandidate{Comm: string(comm), Euid: ids.Effective, Cgroup: string(cgroup)}
	dir := filepath.Join(s.Procfs, strconv.Itoa(p.PID))
	c.NsPIDs = countNSPIDs(filepath.Join(dir, "status"))
	if c.Comm == "hyperkube" {
		// It is each of Kubernetes' programs, by its first argument.
		b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if args := strings.Split(string(b), "\x00"); err != nil || len(args) < 2 || args[1] != "kubelet" {
			return c, false
		}
	}
	if exe, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
		c.Exe = path.Base(exe)
	}
	c.Mounts = sameLink(filepath.Join(dir, "ns/mnt"), filepath.Join(s.Procfs, "1/ns/mnt"))
	if c.Mounts != hostconfig.Yes {
		data := "/var/lib/kubelet"
		if c.Comm == "dockerd" {
			b, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			data = hostconfig.DockerDataFlag(b)
		}
		c.SameRoot = sameDir(data, filepath.Join(dir, "root"), filepath.Join(s.Procfs, "1/root"))
	}
	return c, true
}

// sameLink compares what two links of /proc lead to.
func sameLink(a, b string) hostconfig.Tristate {
	x, err := os.Readlink(a)
	if err != nil {
		return hostconfig.Unknown
	}
	y, err := os.Readlink(b)
	if err != nil {
		return hostconfig.Unknown
	}
	return hostconfig.Is(x == y)
}

// sameDir reports whether the directory is the same below the roots a and b. Where it
// is missing below one of them it is not.
func sameDir(name, a, b string) hostconfig.Tristate {
	var st [2]unix.Statx_t
	for i, root := range []string{a, b} {
		host, err := hostfs.Open(root)
		if err != nil {
			return hostconfig.Unknown
		}
		dir, err := host.OpenDir(name, unix.O_PATH)
		_ = host.Close()
		if err != nil {
			return hostconfig.No
		}
		err = hostfs.Statx(dir, hostfs.Self, &st[i])
		_ = unix.Close(dir)
		if err != nil {
			return hostconfig.Unknown
		}
	}
	return hostconfig.Is(st[0].Ino == st[1].Ino && st[0].Dev_major == st[1].Dev_major && st[0].Dev_minor == st[1].Dev_minor)
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
