package hostconfig

import (
	"testing"
)

func TestIsKubelet(t *testing.T) {
	const (
		uid = "0e7b1c7e-9a52-4b0d-8d0c-6f6a4f1d2c3b"
		cid = "1111111111111111111111111111111111111111111111111111111111111111"
	)
	service := KubeletCandidate{Comm: "kubelet", NsPIDs: 1, Cgroup: "/system.slice/kubelet.service"}
	with := func(change func(*KubeletCandidate)) KubeletCandidate {
		c := service
		change(&c)
		return c
	}
	for name, tt := range map[string]struct {
		c    KubeletCandidate
		want bool
	}{
		"a service":                      {service, true},
		"in the host's mount namespace":  {with(func(c *KubeletCandidate) { c.Mounts, c.Exe = Yes, "kubelet" }), true},
		"seen from a pod's namespace":    {with(func(c *KubeletCandidate) { c.Cgroup = "/../../../../system.slice/kubelet.service" }), true},
		"a version of it":                {with(func(c *KubeletCandidate) { c.Exe = "kubelet-v1.34.4" }), true},
		"upgraded":                       {with(func(c *KubeletCandidate) { c.Exe = "kubelet (deleted)" }), true},
		"k3s":                            {with(func(c *KubeletCandidate) { c.Comm, c.Exe = "k3s-server", "k3s" }), true},
		"the agent of k3s":               {with(func(c *KubeletCandidate) { c.Comm = "k3s-agent" }), true},
		"MicroK8s":                       {with(func(c *KubeletCandidate) { c.Comm = "kubelite" }), true},
		"cgroup v1 of k3s":               {with(func(c *KubeletCandidate) { c.Comm, c.Cgroup = "k3s-server", "/" }), true},
		"Talos: a container of the host": {with(func(c *KubeletCandidate) { c.Cgroup, c.Mounts, c.SameRoot = "/podruntime/kubelet", No, Yes }), true},
		"RKE1: a container of Docker":    {with(func(c *KubeletCandidate) { c.Cgroup, c.Mounts, c.SameRoot = "/docker/"+cid, No, Yes }), true},
		"in a kind node, which is seen":  {with(func(c *KubeletCandidate) { c.Cgroup, c.Mounts = "/docker/"+cid+"/kubelet", Yes }), true},
		"a user's":                       {with(func(c *KubeletCandidate) { c.Euid = 1000 }), false},
		"another program":                {with(func(c *KubeletCandidate) { c.Comm = "containerd" }), false},
		"a name that begins so":          {with(func(c *KubeletCandidate) { c.Comm = "kubelet-csi" }), false},
		"an interpreter":                 {with(func(c *KubeletCandidate) { c.Exe = "python3.13" }), false},
		"a pid namespace of its own":     {with(func(c *KubeletCandidate) { c.NsPIDs = 2 }), false},
		"pid namespaces not known":       {with(func(c *KubeletCandidate) { c.NsPIDs = 0 }), false},
		"another mount namespace":        {with(func(c *KubeletCandidate) { c.Mounts = No }), false},
		"another directory":              {with(func(c *KubeletCandidate) { c.Mounts, c.SameRoot = No, No }), false},
		"a pod": {with(func(c *KubeletCandidate) {
			c.Cgroup = "/kubepods.slice/kubepods-pod0e7b1c7e_9a52_4b0d_8d0c_6f6a4f1d2c3b.slice/cri-containerd-" + cid + ".scope"
		}), false},
		"a pod with the host's pids": {with(func(c *KubeletCandidate) {
			c.Cgroup, c.Mounts, c.SameRoot = "/kubepods/besteffort/pod"+uid+"/"+cid, No, Yes
		}), false},
		"a pod beside ours":               {with(func(c *KubeletCandidate) { c.Cgroup = "/../../pod" + uid + "/" + cid }), false},
		"a pod beside ours, by systemd":   {with(func(c *KubeletCandidate) { c.Cgroup = "/../kubelet-pod0e7b1c7e_9a52_4b0d_8d0c_6f6a4f1d2c3b.slice/x" }), false},
		"a static pod, whose UID is hash": {with(func(c *KubeletCandidate) { c.Cgroup = "/../../pod" + "0e7b1c7e9a524b0d8d0c6f6a4f1d2c3b" + "/" + cid }), false},
		"a container of ours, unseen":     {with(func(c *KubeletCandidate) { c.Cgroup = "/../" + cid }), false},
		"kind on a laptop": {with(func(c *KubeletCandidate) {
			c.Cgroup = "/system.slice/docker-" + cid + ".scope/kubelet.slice/kubelet.service"
		}), false},
		"kind on a node": {with(func(c *KubeletCandidate) { c.Cgroup, c.SameRoot = "/system.slice/docker-"+cid+".scope", No }), false},
		"k3d":            {with(func(c *KubeletCandidate) { c.Comm, c.NsPIDs, c.Cgroup = "k3s-server", 2, "/docker/"+cid }), false},
	} {
		if got := IsKubelet(tt.c); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
