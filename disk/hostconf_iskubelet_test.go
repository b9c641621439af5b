package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestIsKubelet(t *testing.T) {
	const (
		uid = "0e7b1c7e-9a52-4b0d-8d0c-6f6a4f1d2c3b"
		cid = "1111111111111111111111111111111111111111111111111111111111111111"
	)
	service := kubeletCandidate{comm: "kubelet", nsPIDs: 1, cgroup: "/system.slice/kubelet.service"}
	with := func(change func(*kubeletCandidate)) kubeletCandidate {
		c := service
		change(&c)
		return c
	}
	for name, tt := range map[string]struct {
		c    kubeletCandidate
		want bool
	}{
		"a service":                      {service, true},
		"in the host's mount namespace":  {with(func(c *kubeletCandidate) { c.mounts, c.exe = yes, "kubelet" }), true},
		"seen from a pod's namespace":    {with(func(c *kubeletCandidate) { c.cgroup = "/../../../../system.slice/kubelet.service" }), true},
		"a version of it":                {with(func(c *kubeletCandidate) { c.exe = "kubelet-v1.34.4" }), true},
		"upgraded":                       {with(func(c *kubeletCandidate) { c.exe = "kubelet (deleted)" }), true},
		"k3s":                            {with(func(c *kubeletCandidate) { c.comm, c.exe = "k3s-server", "k3s" }), true},
		"the agent of k3s":               {with(func(c *kubeletCandidate) { c.comm = "k3s-agent" }), true},
		"MicroK8s":                       {with(func(c *kubeletCandidate) { c.comm = "kubelite" }), true},
		"cgroup v1 of k3s":               {with(func(c *kubeletCandidate) { c.comm, c.cgroup = "k3s-server", "/" }), true},
		"Talos: a container of the host": {with(func(c *kubeletCandidate) { c.cgroup, c.mounts, c.sameRoot = "/podruntime/kubelet", no, yes }), true},
		"RKE1: a container of Docker":    {with(func(c *kubeletCandidate) { c.cgroup, c.mounts, c.sameRoot = "/docker/"+cid, no, yes }), true},
		"in a kind node, which is seen":  {with(func(c *kubeletCandidate) { c.cgroup, c.mounts = "/docker/"+cid+"/kubelet", yes }), true},
		"a user's":                       {with(func(c *kubeletCandidate) { c.euid = 1000 }), false},
		"another program":                {with(func(c *kubeletCandidate) { c.comm = "containerd" }), false},
		"a name that begins so":          {with(func(c *kubeletCandidate) { c.comm = "kubelet-csi" }), false},
		"an interpreter":                 {with(func(c *kubeletCandidate) { c.exe = "python3.13" }), false},
		"a pid namespace of its own":     {with(func(c *kubeletCandidate) { c.nsPIDs = 2 }), false},
		"pid namespaces not known":       {with(func(c *kubeletCandidate) { c.nsPIDs = 0 }), false},
		"another mount namespace":        {with(func(c *kubeletCandidate) { c.mounts = no }), false},
		"another directory":              {with(func(c *kubeletCandidate) { c.mounts, c.sameRoot = no, no }), false},
		"a pod": {with(func(c *kubeletCandidate) {
			c.cgroup = "/kubepods.slice/kubepods-pod0e7b1c7e_9a52_4b0d_8d0c_6f6a4f1d2c3b.slice/cri-containerd-" + cid + ".scope"
		}), false},
		"a pod with the host's pids": {with(func(c *kubeletCandidate) {
			c.cgroup, c.mounts, c.sameRoot = "/kubepods/besteffort/pod"+uid+"/"+cid, no, yes
		}), false},
		"a pod beside ours":               {with(func(c *kubeletCandidate) { c.cgroup = "/../../pod" + uid + "/" + cid }), false},
		"a pod beside ours, by systemd":   {with(func(c *kubeletCandidate) { c.cgroup = "/../kubelet-pod0e7b1c7e_9a52_4b0d_8d0c_6f6a4f1d2c3b.slice/x" }), false},
		"a static pod, whose UID is hash": {with(func(c *kubeletCandidate) { c.cgroup = "/../../pod" + "0e7b1c7e9a524b0d8d0c6f6a4f1d2c3b" + "/" + cid }), false},
		"a container of ours, unseen":     {with(func(c *kubeletCandidate) { c.cgroup = "/../" + cid }), false},
		"kind on a laptop": {with(func(c *kubeletCandidate) {
			c.cgroup = "/system.slice/docker-" + cid + ".scope/kubelet.slice/kubelet.service"
		}), false},
		"kind on a node": {with(func(c *kubeletCandidate) { c.cgroup, c.sameRoot = "/system.slice/docker-"+cid+".scope", no }), false},
		"k3d":            {with(func(c *kubeletCandidate) { c.comm, c.nsPIDs, c.cgroup = "k3s-server", 2, "/docker/"+cid }), false},
	} {
		if got := isKubelet(tt.c); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The kubelet stays the one that was found for as long as it lives.
func TestHostProcessStays(t *testing.T) {
	walk := func(before hostProcess, all ...hostProcess) (k hostProcess) {
		for _, p := range all {
			k = k.consider(p, before)
		}
		return k
	}
	old, late, earlier := hostProcess{20, 100}, hostProcess{10, 200}, hostProcess{5, 50}
	for name, tt := range map[string]struct{ got, want hostProcess }{
		"the first that was started":       {walk(hostProcess{}, late, old), old},
		"whatever the order":               {walk(hostProcess{}, old, late), old},
		"that of the walk before stays":    {walk(old, earlier, old, late), old},
		"also where it is seen first":      {walk(old, old, earlier), old},
		"it has ended":                     {walk(old, late), late},
		"its pid is another process's now": {walk(old, hostProcess{20, 300}, late), late},
		"none":                             {walk(old), hostProcess{}},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", name, tt.got, tt.want)
		}
	}
}

// What /proc shows of a process.
func TestSameDir(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"host/var/lib/kubelet", "node/var/lib/kubelet", "empty"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	at := func(s string) string { return filepath.Join(top, s) }
	for name, tt := range map[string]struct{ got, want tristate }{
		"the same":     {sameDir(at("host"), at("host"), "/var/lib/kubelet"), yes},
		"another one":  {sameDir(at("node"), at("host"), "/var/lib/kubelet"), no},
		"missing":      {sameDir(at("node"), at("empty"), "/var/lib/kubelet"), no},
		"a root":       {sameDir(at("none"), at("host"), "/var/lib/kubelet"), unknown},
		"links":        {sameLink("/proc/self/ns/mnt", "/proc/self/ns/mnt"), yes},
		"other links":  {sameLink("/proc/self/ns/mnt", "/proc/self/ns/pid"), no},
		"no such link": {sameLink("/proc/self/ns/mnt", at("none")), unknown},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", name, tt.got, tt.want)
		}
	}
	for s, want := range map[string]int{"NSpid:\t7\n": 1, "Name:\tx\nNSpid:\t7\t1\n": 2, "Name:\tx\n": 0} {
		if err := os.WriteFile(at("status"), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := countNSPIDs(at("status")); got != want {
			t.Errorf("%q: %d, want %d", s, got, want)
		}
	}
}
