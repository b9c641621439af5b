package disk

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/hostfstest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// layout is a host as files: what is below its root, links there, and its
// processes.
type layout struct {
	files map[string]string
	links map[string]string
	procs []fakeProcess
	binds map[string]string // mounts: the directory of the first is seen at the second
}

type fakeProcess struct {
	comm, cgroup, cmdline string // blanks for NULs
	root                  string // below the temporary directory; "": the host's
	nsPIDs                string
}

// observe makes one pass over a host with this layout.
func (l layout) observe(t *testing.T) Usage {
	t.Helper()
	top := t.TempDir()
	at := func(p string) string { return filepath.Join(top, p) }
	for p, s := range l.files {
		hostfstest.MakeFile(t, at(p), s)
	}
	for p, target := range l.links {
		if err := os.MkdirAll(filepath.Dir(at(p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, at(p)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"root/etc", "root/var/log", "root/run"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range l.binds {
		for _, dir := range []string{at(from), at(to)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Mount(at(from), at(to), "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(at(to), unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	hostfstest.MakeFile(t, at("proc/self/mountinfo"), "900001 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n")
	for i, p := range slices.Concat([]fakeProcess{{comm: "systemd", cgroup: "/init.scope", cmdline: "/sbin/init"}}, l.procs) {
		pid := strconv.Itoa(i + 1)
		dir := "proc/" + pid + "/"
		hostfstest.MakeFile(t, at(dir+"stat"), pid+" ("+p.comm+") S 1 "+pid+" "+pid+" 0 -1 4194560 100 0 0 0 10 5 0 0 20 0 1 0 "+pid+" 1000000 100 18446744073709551615"+strings.Repeat(" 0", 27)+"\n")
		hostfstest.MakeFile(t, at(dir+"status"), "Name:\t"+p.comm+"\nPid:\t"+pid+"\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t"+pid+p.nsPIDs+"\n")
		hostfstest.MakeFile(t, at(dir+"cgroup"), "0::"+p.cgroup+"\n")
		hostfstest.MakeFile(t, at(dir+"cmdline"), string(hostfstest.Cmdline(p.cmdline)))
		for _, d := range []string{"fd", "task/" + pid + "/fd"} {
			if err := os.MkdirAll(at(dir+d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		root := at("root")
		if p.root != "" {
			root = at(p.root)
		}
		if err := os.Symlink(root, at(dir+"root")); err != nil {
			t.Fatal(err)
		}
	}
	o, err := New(at("proc"), "/sys", at("root"), DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	u, err := o.Observe(t.Context(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Each row of docs/support.md: a host that is laid out so gives figures, or a
// finding.
func TestSupport(t *testing.T) {
	const (
		uid = "0e7b1c7e-9a52-4b0d-8d0c-6f6a4f1d2c3b"
		cid = "1111111111111111111111111111111111111111111111111111111111111111"
		id  = "3a1b7c0e000040008000000000000001"
	)
	podLog := "root/var/log/pods/shop_web-0_" + uid + "/web/0.log"
	kubelet := func(args string) []fakeProcess {
		return []fakeProcess{{comm: "kubelet", cgroup: "/system.slice/kubelet.service", cmdline: "/usr/bin/kubelet " + args}}
	}
	config := hostfstest.KubeletHead + "evictionHard: {nodefs.available: 12%}\n"
	pods := func(root string) string { return "root" + root + "/pods/" + uid + "/etc-hosts" }
	large := strings.Repeat("a line of a log\n", unboundedFrom/16+1)
	for name, tt := range map[string]struct {
		layout
		nodefs  string // the kubelet's threshold; "-" for no kubelet
		finding string // REASON PART-OF-THE-MESSAGE-OR-ADVICE
		absent  string // a reason that must not be there
		log     string // a container of Docker whose log is seen
		mounted bool   // it takes mounts, and so root
	}{
		"kubeadm": {layout: layout{
			files: map[string]string{"root/var/lib/kubelet/config.yaml": config, pods("/var/lib/kubelet"): ""},
			procs: kubelet("--config=/var/lib/kubelet/config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf"),
		}, nodefs: "12%"},
		"EKS: JSON and drop-ins": {layout: layout{files: map[string]string{
			"root/etc/kubernetes/kubelet/config.json":             `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","evictionHard":{"nodefs.available":"10%","memory.available":"100Mi"}}`,
			"root/etc/kubernetes/kubelet/config.json.d/00-a.conf": `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","evictionHard":{"nodefs.available":"14%"}}`,
			pods("/var/lib/kubelet"):                              "",
		}, procs: kubelet("--config=/etc/kubernetes/kubelet/config.json --config-dir=/etc/kubernetes/kubelet/config.json.d")}, nodefs: "14%"},
		"a configuration behind links": {layout: layout{
			files: map[string]string{"root/etc/kubernetes/real.yaml": config, pods("/data/kubelet"): ""},
			links: map[string]string{"root/etc/kubernetes/kubelet.yaml": "/etc/kubernetes/real.yaml", "root/var/lib/kubelet": "/data/kubelet"},
			procs: kubelet("--config=/etc/kubernetes/kubelet.yaml"),
		}, nodefs: "12%"},
		"GKE": {layout: layout{
			files: map[string]string{"root/home/kubernetes/kubelet-config.yaml": config, pods("/var/lib/kubelet"): ""},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/system.slice/kubelet.service", cmdline: "/home/kubernetes/bin/kubelet --v=2 --config /home/kubernetes/kubelet-config.yaml --max-pods=110"}},
		}, nodefs: "12%"},
		"OpenShift": {layout: layout{
			files: map[string]string{"root/etc/kubernetes/kubelet.conf": `{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1","evictionHard":{"nodefs.available":"13%"}}`, pods("/var/lib/kubelet"): ""},
			procs: kubelet("--config=/etc/kubernetes/kubelet.conf --config-dir=/etc/openshift/kubelet.conf.d --container-runtime-endpoint=/var/run/crio/crio.sock"),
		}, nodefs: "13%"},
		"AKS: flags above a file": {layout: layout{
			files: map[string]string{"root/etc/default/kubeletconfig.json": config, pods("/var/lib/kubelet"): ""},
			procs: kubelet("--config /etc/default/kubeletconfig.json --eviction-hard=memory.available<100Mi,nodefs.available<11%,nodefs.inodesFree<5%"),
		}, nodefs: "11%"},
		"Bottlerocket": {layout: layout{
			files: map[string]string{"root/etc/kubernetes/kubelet/config": config, pods("/var/lib/kubelet"): ""},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/runtime.slice/kubelet.service", cmdline: "/usr/bin/kubelet --cloud-provider external --kubeconfig /etc/kubernetes/kubelet/kubeconfig --config /etc/kubernetes/kubelet/config"}},
		}, nodefs: "12%"},
		"the kubelet is stopped":               {layout: layout{files: map[string]string{"root/var/lib/kubelet/config.yaml": config}}, nodefs: "12%"},
		"the kubelet is stopped, EKS":          {layout: layout{files: map[string]string{"root/etc/kubernetes/kubelet/config.json": config}}, nodefs: "12%"},
		"the kubelet is stopped, an older EKS": {layout: layout{files: map[string]string{"root/etc/kubernetes/kubelet/kubelet-config.json": config}}, nodefs: "12%"},
		"the kubelet is stopped, OpenShift":    {layout: layout{files: map[string]string{"root/etc/kubernetes/kubelet.conf": config}}, nodefs: "12%"},
		"the kubelet is stopped, GKE":          {layout: layout{files: map[string]string{"root/home/kubernetes/kubelet-config.yaml": config}}, nodefs: "12%"},
		"the kubelet is stopped, EKS with drop-ins": {layout: layout{files: map[string]string{
			"root/etc/kubernetes/kubelet/config.json":                   hostfstest.KubeletHead + "evictionHard: {nodefs.available: 10%}\n",
			"root/etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf": config,
		}}, nodefs: "12%"},
		"the kubelet is stopped, OpenShift with drop-ins": {layout: layout{files: map[string]string{
			"root/etc/kubernetes/kubelet.conf":            hostfstest.KubeletHead + "evictionHard: {nodefs.available: 10%}\n",
			"root/etc/openshift/kubelet.conf.d/90-a.conf": config,
		}}, nodefs: "12%"},
		"the kubelet is stopped, kubeadm with a kubeconfig": {layout: layout{files: map[string]string{"root/etc/kubernetes/kubelet.conf": "apiVersion: v1\nkind: Config\n", "root/var/lib/kubelet/config.yaml": config}}, nodefs: "12%"},
		"the kubelet is stopped, Bottlerocket":              {layout: layout{files: map[string]string{"root/etc/kubernetes/kubelet/config": config}}, nodefs: "12%"},
		"the kubelet is stopped, AKS":                       {layout: layout{files: map[string]string{"root/etc/default/kubeletconfig.json": config}}, nodefs: "12%"},
		"the kubelet is stopped, k0s":                       {layout: layout{files: map[string]string{"root/var/lib/k0s/kubelet-config.yaml": config}}, nodefs: "12%"},
		"the kubelet is stopped, RKE2":                      {layout: layout{files: map[string]string{"root/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00.conf": config}}, nodefs: "12%"},
		"the kubelet is stopped, MicroShift":                {layout: layout{files: map[string]string{"root" + "/var/lib/microshift/resources/kubelet/config/config.yaml": config}}, nodefs: "12%"},
		"the kubelet is stopped, MicroK8s": {layout: layout{
			files: map[string]string{"root/var/snap/microk8s/7229/args/kubelet": "--eviction-hard 'nodefs.available<1Gi'\n"},
			links: map[string]string{"root/var/snap/microk8s/current": "7229"},
		}, nodefs: "1Gi"},
		"the kubelet is stopped, k3s": {layout: layout{files: map[string]string{"root/etc/systemd/system/k3s-agent.service": "[Service]\nExecStart=/usr/local/bin/k3s agent --kubelet-arg=eviction-hard=nodefs.available<9%%\n"}}, nodefs: "9%"},
		"a BOM and carriage returns": {layout: layout{
			files: map[string]string{"root/k": "\ufeff" + strings.ReplaceAll(config, "\n", "\r\n")}, procs: kubelet("--config=/k"),
		}, nodefs: "12%"},
		"drop-ins by name, not by number": {layout: layout{
			files: map[string]string{"root/d/9.conf": config, "root/d/10.conf": hostfstest.KubeletHead + "evictionHard: {nodefs.available: 1%}\n"}, procs: kubelet("--config-dir /d"),
		}, nodefs: "12%"},
		"flags with an underscore": {layout: layout{procs: kubelet("--eviction_hard nodefs.available<7%")}, nodefs: "7%"},
		"the snap of Canonical Kubernetes": {layout: layout{
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/system.slice/snap.k8s.kubelet.service", cmdline: "/snap/k8s/1/bin/kubelet --eviction-hard=nodefs.available<3Gi"}},
		}, nodefs: "3Gi"},
		"k3s with a name of its own": {layout: layout{files: map[string]string{
			"root/etc/systemd/system/k3s-edge.service": "[Service]\nExecStart=/usr/local/bin/k3s server --kubelet-arg=eviction-hard=nodefs.available<9%%\n",
		}, procs: []fakeProcess{{comm: "k3s-server", cgroup: "/system.slice/k3s-edge.service", cmdline: "/usr/local/bin/k3s"}}}, nodefs: "9%"},
		"flags alone":  {layout: layout{files: map[string]string{pods("/var/lib/kubelet"): ""}, procs: kubelet("--v=2")}, nodefs: ""},
		"no such file": {layout: layout{procs: kubelet("--config=/none")}, nodefs: "10%", finding: "NotSeen kubelet configuration /none"},
		"a wrong file": {
			layout: layout{files: map[string]string{"root/k": "{"}, procs: kubelet("--config=/k")},
			nodefs: "10%", finding: "NotSeen not a KubeletConfiguration",
		},
		"a file that is too large": {
			layout: layout{files: map[string]string{"root/k": hostfstest.KubeletHead + strings.Repeat("#\n", hostfs.MaxConfigBytes/2)}, procs: kubelet("--config=/k")},
			nodefs: "10%", finding: "NotSeen larger than",
		},
		"a hostile file": {layout: layout{
			files: map[string]string{"root/k": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n"},
			procs: kubelet("--config=/k"),
		}, nodefs: "10%", finding: "NotSeen not a KubeletConfiguration"},
		"a value out of range": {
			layout: layout{files: map[string]string{"root/k": hostfstest.KubeletHead + "containerLogMaxSize: 1k\n"}, procs: kubelet("--config=/k")},
			nodefs: "10%", finding: "KubeletValueRejected less than 1 MiB",
		},
		"k3s": {layout: layout{files: map[string]string{
			"root/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf": hostfstest.KubeletHead + "evictionHard: {nodefs.available: 5%}\n",
			"root/etc/rancher/k3s/config.yaml":                                       "kubelet-arg: [eviction-hard=nodefs.available<8%]\n",
			"root/etc/systemd/system/k3s.service":                                    "[Service]\nExecStart=/usr/local/bin/k3s \\\n server\n",
		}, procs: []fakeProcess{{comm: "k3s-server", cgroup: "/system.slice/k3s.service", cmdline: "/usr/local/bin/k3s"}}}, nodefs: "8%"},
		"k3s on OpenRC": {
			layout: layout{procs: []fakeProcess{{comm: "k3s-agent", cgroup: "/", cmdline: "/usr/local/bin/k3s"}}},
			nodefs: "5%", finding: "NotSeen k3s hides its command line",
		},
		"RKE2": {layout: layout{
			files: map[string]string{"root/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00.conf": config},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/system.slice/rke2-server.service", cmdline: "kubelet --config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d"}},
		}, nodefs: "12%"},
		"k0s": {layout: layout{
			files: map[string]string{"root/run/k0s/kubelet.yaml": config, pods("/var/lib/k0s/kubelet"): ""},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/system.slice/k0sworker.service", cmdline: "/var/lib/k0s/bin/kubelet --root-dir=/var/lib/k0s/kubelet --config=/run/k0s/kubelet.yaml"}},
		}, nodefs: "12%"},
		"MicroK8s": {layout: layout{
			files: map[string]string{"root/var/snap/microk8s/7229/args/kubelet": "--eviction-hard=\"nodefs.available<1Gi\"\n"},
			links: map[string]string{"root/var/snap/microk8s/current": "7229"},
			procs: []fakeProcess{{comm: "kubelite", cgroup: "/system.slice/snap.microk8s.daemon-kubelite.service", cmdline: "/snap/microk8s/7229/kubelite"}},
		}, nodefs: "1Gi"},
		"MicroK8s with --kubelet-args-file": {layout: layout{
			files: map[string]string{"root/srv/args": "--eviction-hard=nodefs.available<2Gi\n"},
			procs: []fakeProcess{{comm: "kubelite", cgroup: "/system.slice/snap.microk8s.daemon-kubelite.service", cmdline: "/snap/microk8s/7229/kubelite --kubelet-args-file=/srv/args"}},
		}, nodefs: "2Gi"},
		"MicroShift": {layout: layout{
			files: map[string]string{"root/var/lib/microshift/resources/kubelet/config/config.yaml": config},
			procs: []fakeProcess{{comm: "microshift", cgroup: "/system.slice/microshift.service", cmdline: "/usr/bin/microshift run"}},
		}, nodefs: "12%"},
		"MicroShift, without the file": {layout: layout{
			procs: []fakeProcess{{comm: "microshift", cgroup: "/system.slice/microshift.service", cmdline: "/usr/bin/microshift run"}},
		}, nodefs: "10%", finding: "NotSeen kubelet"},
		"minikube with Docker": {layout: layout{
			files: map[string]string{"node/var/lib/kubelet/config.yaml": config},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/docker/" + cid + "/kubelet.slice", cmdline: "/var/lib/minikube/binaries/v1.34.0/kubelet --config=/var/lib/kubelet/config.yaml", root: "node", nsPIDs: "\t77"}},
		}, nodefs: "-"},
		"kind on a laptop": {layout: layout{
			files: map[string]string{"node/var/lib/kubelet/config.yaml": config},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/system.slice/docker-" + cid + ".scope/kubelet.slice/kubelet.service", cmdline: "kubelet --config=/var/lib/kubelet/config.yaml", root: "node"}},
		}, nodefs: "-"},
		"k3d on a laptop": {layout: layout{procs: []fakeProcess{{comm: "k3s-server", cgroup: "/docker/" + cid, cmdline: "k3s", root: "node", nsPIDs: "\t1"}}, files: map[string]string{"node/x": ""}}, nodefs: "-"},
		"a pod called kubelet": {layout: layout{
			files: map[string]string{podLog: "x\n"},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/../../pod" + uid + "/" + cid, cmdline: "kubelet --eviction-hard=nodefs.available<99%"}},
		}, nodefs: "-", finding: "NotSeen no kubelet was found"},
		"no kubelet, and pods": {layout: layout{files: map[string]string{podLog: "x\n"}}, nodefs: "-", finding: "NotSeen no kubelet was found"},
		"/var/log is a link, without a journal": {layout: layout{
			files: map[string]string{"root/data/x/log/syslog": "x\n"}, links: map[string]string{"root/var/log": "../data/x/log"},
		}, nodefs: "-", absent: "NotSeen"},
		"/var/log/pods is a chain of links": {layout: layout{
			files: map[string]string{"root/data/pods/shop_web-0_" + uid + "/web/0.log": "x\n", "root/var/lib/kubelet/config.yaml": config, pods("/var/lib/kubelet"): ""},
			links: map[string]string{"root/var/log/pods": "/mnt/b", "root/mnt/b": "../data/pods"},
		}, nodefs: "12%", absent: "NotSeen"},
		"/var/log/pods is a link to nowhere": {layout: layout{links: map[string]string{"root/var/log/pods": "/data/pods"}}, nodefs: "-", finding: "NotSeen /data/pods, which cannot be reached"},
		"/var/log/pods is a link to itself":  {layout: layout{links: map[string]string{"root/var/log/pods": "pods"}}, nodefs: "-", finding: "NotSeen /var/log/pods cannot be opened"},
		"/var/log/pods is no directory":      {layout: layout{files: map[string]string{"root/var/log/pods": ""}}, nodefs: "-", finding: "NotSeen /var/log/pods cannot be opened (not a directory)"},
		"a plain host":                       {layout: layout{files: map[string]string{"root/var/log/syslog": "x\n"}}, nodefs: "-", absent: "NotSeen"},

		"journald, persistent":  {layout: layout{files: map[string]string{"root/var/log/journal/" + id + "/x": ""}}, nodefs: "-", finding: "JournalWithoutBudget SystemMaxUse="},
		"journald, in /run":     {layout: layout{files: map[string]string{"root/run/log/journal/" + id + "/x": ""}}, nodefs: "-", finding: "JournalWithoutBudget RuntimeMaxUse="},
		"journald, bounded":     {layout: layout{files: map[string]string{"root/run/log/journal/" + id + "/x": "", "root/usr/lib/systemd/journald.conf.d/a.conf": "[Journal]\nRuntimeMaxUse=64M\n"}}, nodefs: "-", absent: "JournalWithoutBudget"},
		"journald, a namespace": {layout: layout{files: map[string]string{"root/var/log/journal/" + id + ".n/x": "", "root/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=1G\n"}}, nodefs: "-", finding: "JournalWithoutBudget journald@n.conf.d"},
		"journald, masked":      {layout: layout{files: map[string]string{"root/var/log/journal/" + id + "/x": "", "root/usr/lib/systemd/journald.conf": "[Journal]\nSystemMaxUse=1G\n"}, links: map[string]string{"root/etc/systemd/journald.conf": "/dev/null"}}, nodefs: "-", finding: "JournalWithoutBudget SystemMaxUse="},

		"journald, no limit": {layout: layout{files: map[string]string{"root/var/log/journal/" + id + "/x": "", "root/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=0\n"}}, nodefs: "-", finding: "JournalWithoutBudget SystemMaxUse=0 switches the size limit"},
		"journald, a share":  {layout: layout{files: map[string]string{"root/var/log/journal/" + id + "/x": "", "root/etc/systemd/journald.conf": "[Journal]\nSystemMaxUse=10%\n"}}, nodefs: "-", finding: "JournalWithoutBudget is no size"},
		"journald, 1.5G":     {layout: layout{files: map[string]string{"root/var/log/journal/" + id + "/x": "", "root/etc/systemd/journald.conf": "\ufeff[Journal]\r\nSystemMaxUse=1.5G\r\n"}}, nodefs: "-", absent: "JournalWithoutBudget"},

		"journald, Storage=none": {layout: layout{files: map[string]string{"root/var/log/journal/" + id + "/x": "", "root/etc/systemd/journald.conf": "[Journal]\nStorage=none\n"}}, nodefs: "-", absent: "JournalWithoutBudget"},

		"logrotate without size": {
			layout: layout{files: map[string]string{"root/etc/logrotate.conf": "weekly\ninclude /etc/logrotate.d\n", "root/etc/logrotate.d/a": "/var/log/a.log {\n compress # maxsize\n}\n", "root/var/log/a.log": large}},
			nodefs: "-", finding: "LogrotateWithoutSize /var/log/a.log weekly",
		},
		"logrotate with maxsize": {layout: layout{files: map[string]string{"root/etc/logrotate.d/a": "/var/log/a.log {\n daily\n maxsize 1M\n}\n", "root/var/log/a.log": large}}, nodefs: "-", absent: "LogrotateWithoutSize"},
		"logrotate of openSUSE":  {layout: layout{files: map[string]string{"root/usr/etc/logrotate.conf": "include /usr/etc/logrotate.d\n", "root/usr/etc/logrotate.d/a": "/var/log/a.log {\n copytruncate\n}\n"}}, nodefs: "-", finding: "LogrotateCopyTruncate /usr/etc/logrotate.d/a:1"},
		"logrotate with an error": {
			layout: layout{files: map[string]string{"root/etc/logrotate.d/a": "/var/log/a.log {\n rotate 4 # four\n copytruncate\n}\n"}},
			nodefs: "-", finding: "NotSeen /etc/logrotate.d/a:2", absent: "LogrotateCopyTruncate",
		},

		"Docker":            {layout: layout{files: map[string]string{"root/var/lib/docker/containers/x/y": ""}}, nodefs: "-", finding: "DockerLogsUnbounded /etc/docker/daemon.json"},
		"Docker, bounded":   {layout: layout{files: map[string]string{"root/var/lib/docker/containers/x/y": "", "root/etc/docker/daemon.json": `{"log-opts":{"max-size":"10m"}}`}}, nodefs: "-", absent: "DockerLogsUnbounded"},
		"Docker, data-root": {layout: layout{files: map[string]string{"root/mnt/d/containers/" + cid + "/" + cid + "-json.log": "x\n", "root/etc/docker/daemon.json": `{"data-root":"/mnt/d"}`}}, nodefs: "-", finding: "DockerLogsUnbounded grow without bound", log: "/mnt/d/containers/"},
		"Docker, by flag": {
			log: "/mnt/d/containers/", layout: layout{files: map[string]string{"root/mnt/d/containers/" + cid + "/" + cid + "-json.log": "x\n"}, procs: []fakeProcess{{comm: "dockerd", cgroup: "/system.slice/docker.service", cmdline: "/usr/bin/dockerd --data-root=/mnt/d"}}},
			nodefs: "-", finding: "DockerLogsUnbounded grow without bound",
		},
		"Docker, --config-file": {
			log: "/mnt/d/containers/", layout: layout{files: map[string]string{"root/mnt/d/containers/" + cid + "/" + cid + "-json.log": "x\n", "root/srv/d.json": `{"data-root":"/mnt/d"}`}, procs: []fakeProcess{{comm: "dockerd", cgroup: "/system.slice/docker.service", cmdline: "/usr/bin/dockerd --config-file /srv/d.json"}}},
			nodefs: "-", finding: "DockerLogsUnbounded grow without bound",
		},
		"Talos": {mounted: true, layout: layout{
			files: map[string]string{"node/etc/kubernetes/kubelet.yaml": config},
			binds: map[string]string{"root/var/lib/kubelet": "node/var/lib/kubelet"},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/podruntime/kubelet", cmdline: "/usr/local/bin/kubelet --config=/etc/kubernetes/kubelet.yaml", root: "node"}},
		}, nodefs: "12%"},
		"RKE1": {mounted: true, layout: layout{
			files: map[string]string{"node/etc/kubernetes/k.yaml": config},
			binds: map[string]string{"root/var/lib/kubelet": "node/var/lib/kubelet"},
			procs: []fakeProcess{{comm: "kubelet", cgroup: "/docker/" + cid, cmdline: "kubelet --config=/etc/kubernetes/k.yaml --eviction-hard=nodefs.available<9%", root: "node"}},
		}, nodefs: "9%"},
		"Docker, a snap": {mounted: true, log: "/var/snap/docker/common/var-lib-docker/containers/", layout: layout{
			files: map[string]string{"root/var/snap/docker/common/var-lib-docker/containers/" + cid + "/" + cid + "-json.log": "x\n", "root/var/snap/docker/2915/config/daemon.json": "{}", "node/etc/x": ""},
			// The snap has a root and a mount namespace of its own, with the host's /var/snap.
			binds: map[string]string{"root/var/snap": "node/var/snap"},
			links: map[string]string{"proc/1/ns/mnt": "mnt:[1]", "proc/2/ns/mnt": "mnt:[2]"},
			procs: []fakeProcess{{comm: "dockerd", root: "node", cgroup: "/system.slice/snap.docker.dockerd.service", cmdline: "dockerd --data-root=/var/snap/docker/common/var-lib-docker --config-file=/var/snap/docker/2915/config/daemon.json"}},
		}, nodefs: "-", finding: "DockerLogsUnbounded grow without bound"},
		"Docker in a container of the host": {layout: layout{
			files: map[string]string{"node/var/lib/docker/containers/x/y": ""},
			links: map[string]string{"proc/1/ns/mnt": "mnt:[1]", "proc/2/ns/mnt": "mnt:[2]"},
			procs: []fakeProcess{{comm: "dockerd", root: "node", cgroup: "/docker/" + cid, cmdline: "dockerd --data-root=/var/lib/docker --log-opt=max-size=10m"}},
		}, nodefs: "-", absent: "DockerLogsUnbounded"},
		"Docker, a link": {log: "/var/lib/docker/containers/", layout: layout{files: map[string]string{"root/mnt/d/containers/" + cid + "/" + cid + "-json.log": "x\n"}, links: map[string]string{"root/var/lib/docker": "/mnt/d"}}, nodefs: "-", finding: "DockerLogsUnbounded grow without bound"},
		"Docker, broken": {layout: layout{files: map[string]string{"root/var/lib/docker/containers/x/y": "", "root/etc/docker/daemon.json": `{`}}, nodefs: "-", finding: "NotSeen not a daemon.json", absent: "DockerLogsUnbounded"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.mounted {
				privtest.Root(t)
			}
			u := tt.observe(t)
			switch {
			case tt.nodefs == "-" && u.Kubelet != nil:
				t.Errorf("a kubelet: %+v", u.Kubelet)
			case tt.nodefs != "-" && (u.Kubelet == nil || u.Kubelet.EvictionHard[hostconfig.SignalNodefsAvailable] != tt.nodefs):
				t.Errorf("kubelet %+v, want the threshold %q", u.Kubelet, tt.nodefs)
			}
			if tt.log != "" && !slices.ContainsFunc(u.Producers, func(p logs.Producer) bool {
				return p.Kind == logs.KindContainer && p.ContainerID == cid && strings.HasPrefix(p.Path, tt.log) && p.Bytes > 0
			}) {
				t.Errorf("the log of the container in %s is not seen: %+v", tt.log, u.Producers)
			}
			if len(u.Orphans) != 0 {
				t.Errorf("orphans: %+v", u.Orphans)
			}
			reason, part, _ := strings.Cut(tt.finding, " ")
			found := tt.finding == ""
			for _, f := range u.Findings {
				found = found || f.Reason == reason && strings.Contains(f.Message+f.Do, part) && f.Do != ""
				if f.Reason == tt.absent {
					t.Errorf("not expected: %+v", f)
				}
			}
			if !found {
				t.Errorf("no finding %q: %+v", tt.finding, u.Findings)
			}
		})
	}
}
