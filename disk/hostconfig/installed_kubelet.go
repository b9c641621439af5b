package hostconfig

import (
	"strings"

	"github.com/nodetune/nodetune/internal/hostfs"
)

// installedKubelets are how distributions start their kubelet, for when none runs:
// each by a path that only it has. The directory of drop-ins may be missing.
var installedKubelets = []struct {
	path    string
	dropIns string // beside --config
	args    string // "" for --config=path
}{
	{path: "/var/lib/kubelet/config.yaml"}, // kubeadm and most
	{path: "/etc/kubernetes/kubelet/config.json", dropIns: "/etc/kubernetes/kubelet/config.json.d"}, // EKS
	{path: "/etc/kubernetes/kubelet/kubelet-config.json"},                                           // EKS before nodeadm
	{path: "/etc/kubernetes/kubelet/config"},                                                        // Bottlerocket
	{path: "/etc/kubernetes/kubelet.conf", dropIns: "/etc/openshift/kubelet.conf.d"},                // OpenShift; a kubeconfig with kubeadm
	{path: "/home/kubernetes/kubelet-config.yaml"},                                                  // GKE
	{path: "/etc/default/kubeletconfig.json"},                                                       // AKS
	{path: "/var/lib/k0s/kubelet-config.yaml", args: "kubelet --config=/var/lib/k0s/kubelet-config.yaml --root-dir=/var/lib/k0s/kubelet"},
	{path: "/var/snap/microk8s/current/args/kubelet", args: "kubelite"},
	{path: microShiftConfig, args: "microshift"},
	{path: "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d", args: "kubelet --config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d"},
	{path: "/etc/systemd/system/k3s.service", args: "k3s server"},
	{path: "/etc/systemd/system/k3s-agent.service", args: "k3s agent"},
}

// installedKubelet returns the configuration of the first one that can be read.
func installedKubelet(host hostfs.HostFiles) (Kubelet, bool) {
	exists := func(p string) bool {
		_, err := host.Kind(p)
		return p != "" && err == nil
	}
	for _, one := range installedKubelets {
		if !exists(one.path) {
			continue
		}
		args := one.args
		switch {
		case args != "":
		case exists(one.dropIns):
			args = "kubelet --config=" + one.path + " --config-dir=" + one.dropIns
		default:
			args = "kubelet --config=" + one.path
		}
		k := DefaultKubelet()
		cmdline := strings.ReplaceAll(args, " ", "\x00")
		if strings.HasPrefix(args, "k3s ") {
			cmdline = args // its title
		}
		if err := k.read([]byte(cmdline), "", host); err == nil {
			return k, true
		}
	}
	return Kubelet{}, false
}
