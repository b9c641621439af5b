package hostconfig

import (
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/hostfstest"
)

// The kubelet in other programs is read from their files.
func TestEmbeddedKubelets(t *testing.T) {
	const dir = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/"
	defaults := hostfstest.KubeletHead + "containerRuntimeEndpoint: unix:///run/k3s/containerd/containerd.sock\nevictionHard: {imagefs.available: 5%, nodefs.available: 5%}\n"
	const unit = "[Service]\nExecStartPre=-/sbin/modprobe overlay\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--kubelet-arg=container-log-max-size=7Mi' \\\n\t'--data-dir' '/srv/k3s' \\\n"
	for _, c := range []struct {
		name    string
		cmdline string // "|" for NULs
		host    hostfstest.Files
		nodefs  string
		size    int64
		files   int
		root    string
		socket  string
		program string
		warns   int
		wrong   bool
	}{
		{"k3s before 1.32: its thresholds are flags", "/usr/local/bin/k3s server|--token=x", hostfstest.Files{}, "5%", 10 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"k3s with drop-ins", "/usr/local/bin/k3s server|--disable=traefik", hostfstest.Files{dir + "00-k3s-defaults.conf": defaults}, "5%", 10 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"a drop-in of the administrator", "/usr/local/bin/k3s agent|--server=x", hostfstest.Files{dir + "00-k3s-defaults.conf": defaults, dir + "50-me.conf": hostfstest.KubeletHead + "evictionHard: {nodefs.available: 12%}\n"}, "12%", 10 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"arguments", "/usr/local/bin/k3s server|--kubelet-arg=eviction-hard=nodefs.available<8%|--kubelet-arg|container-log-max-size=50Mi", hostfstest.Files{dir + "00-k3s-defaults.conf": defaults}, "8%", 50 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"arguments in the configuration", "/usr/local/bin/k3s server", hostfstest.Files{"/etc/rancher/k3s/config.yaml": "kubelet-arg:\n- --container-log-max-files=9\n- root-dir=/data/kubelet\n", "/etc/systemd/system/k3s.service": "[Service]\nExecStart=/usr/local/bin/k3s server\n"}, "5%", 10 << 20, 9, "/data/kubelet", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"drop-ins of the configuration replace or add", "/usr/local/bin/k3s server|--x", hostfstest.Files{
			"/etc/rancher/k3s/config.yaml":             "kubelet-arg: container-log-max-files=9\n",
			"/etc/rancher/k3s/config.yaml.d/10-a.yaml": "kubelet-arg: [container-log-max-files=8]\n",
			"/etc/rancher/k3s/config.yaml.d/20-b.yml":  "kubelet-arg+: [container-log-max-size=3Mi]\n",
			"/etc/rancher/k3s/config.yaml.d/30-c.txt":  "kubelet-arg: [container-log-max-size=4Mi]\n",
		}, "5%", 3 << 20, 8, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"one file replaces and adds, in any order of a map", "/usr/local/bin/k3s server|--x", hostfstest.Files{
			"/etc/rancher/k3s/config.yaml":             "kubelet-arg: container-log-max-files=9\n",
			"/etc/rancher/k3s/config.yaml.d/10-a.yaml": "kubelet-arg: [container-log-max-files=8]\nkubelet-arg+: [container-log-max-size=3Mi]\n",
		}, "5%", 3 << 20, 8, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"arguments that are empty, and one that adds", "/usr/local/bin/k3s server|--x", hostfstest.Files{
			"/etc/rancher/k3s/config.yaml": "kubelet-arg: ['', --, eviction-hard+=imagefs.available<9%, container-log-max-size=7Mi]\n",
		}, "5%", 7 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"a drop-in of the unit", "/usr/local/bin/k3s server", hostfstest.Files{
			"/etc/systemd/system/k3s.service":             "[Service]\nExecStart=/usr/local/bin/k3s server\n",
			"/etc/systemd/system/k3s.service.d/10-a.conf": "[Service]\nExecStart=\nExecStart=/usr/local/bin/k3s server --kubelet-arg=container-log-max-size=7Mi\n",
		}, "5%", 7 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"the unit of a package", "/usr/bin/k3s server", hostfstest.Files{
			"/usr/lib/systemd/system/k3s.service": "[Service]\nExecStart=/usr/bin/k3s server --kubelet-arg=container-log-max-size=7Mi\n",
		}, "5%", 7 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"another configuration, in the unit's environment", "/usr/bin/k3s server", hostfstest.Files{
			"/etc/systemd/system/k3s.service": "[Service]\nExecStart=/usr/local/bin/k3s server\n", "/etc/default/k3s": "K3S_CONFIG_FILE=/c.yaml\n",
			"/c.yaml": "kubelet-arg: [container-log-max-size=7Mi]\n",
		}, "5%", 7 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"a command line with a prefix", "/usr/bin/k3s server", hostfstest.Files{
			"/etc/systemd/system/k3s.service": "[Service]\nExecStart=-/usr/bin/k3s server \"--kubelet-arg=container-log-max-size=7Mi\"\n",
		}, "5%", 7 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"another configuration", "/usr/local/bin/k3s server|-c|/x.yaml", hostfstest.Files{"/x.yaml": "data-dir: /srv\ndocker: true\n", "/srv/agent/etc/kubelet.conf.d/1.conf": hostfstest.KubeletHead + "evictionHard: {nodefs.available: 2%}"}, "2%", 10 << 20, 5, "", "", "k3s", 0, false},
		{"docker", "/usr/local/bin/k3s server|--docker", hostfstest.Files{}, "5%", 10 << 20, 5, "", "/run/k3s/cri-dockerd/cri-dockerd.sock", "k3s", 0, false},
		{"the hidden command line is in the unit", "/usr/local/bin/k3s server||||", hostfstest.Files{"/etc/systemd/system/k3s.service": unit, "/srv/k3s/agent/etc/kubelet.conf.d/1.conf": hostfstest.KubeletHead + "evictionHard: {nodefs.available: 2%}"}, "2%", 7 << 20, 5, "", "", "k3s", 0, false},
		{"the agent's unit", "/usr/local/bin/k3s agent", hostfstest.Files{"/etc/systemd/system/k3s-agent.service": unit, "/etc/systemd/system/k3s-agent.service.env": "# x\nK3S_CONFIG_FILE='/c.yaml'\n", "/c.yaml": "kubelet-arg: container-log-max-files=3\n"}, "5%", 7 << 20, 3, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, false},
		{"no unit: what the command line has is not known", "/usr/local/bin/k3s server", hostfstest.Files{}, "5%", 10 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 1, false},
		{"a broken configuration", "/usr/local/bin/k3s server|--x", hostfstest.Files{"/etc/rancher/k3s/config.yaml": "kubelet-arg: [\n"}, "5%", 10 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "k3s", 0, true},
		{"MicroK8s", "/snap/microk8s/7229/kubelite|--kubelet-args-file=/var/snap/microk8s/7229/args/kubelet", hostfstest.Files{
			"/var/snap/microk8s/7229/args/kubelet": "# a comment\n--root-dir=${SNAP_COMMON}/var/lib/kubelet\n\n--eviction-hard=\"nodefs.available<1Gi,imagefs.available<1Gi\"\n--container-log-max-files 2\n--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock\n",
		}, "1Gi", 10 << 20, 2, "/var/snap/microk8s/common/var/lib/kubelet", "/var/snap/microk8s/common/run/containerd.sock", "kubelite", 0, false},
		{"MicroK8s, by default", "/snap/microk8s/1/kubelite", hostfstest.Files{"/var/snap/microk8s/current/args/kubelet": "--container-log-max-size=9Mi"}, "", 9 << 20, 5, "", "", "kubelite", 0, false},
		{"MicroK8s, unreadable", "/snap/microk8s/1/kubelite", hostfstest.Files{}, "", 10 << 20, 5, "", "", "kubelite", 0, true},
		{"MicroShift", "/usr/bin/microshift|run", hostfstest.Files{microShiftConfig: hostfstest.KubeletHead + "containerLogMaxSize: 5Mi\n"}, "10%", 5 << 20, 5, "", "", "microshift", 0, false},
		{"MicroShift, unreadable", "/usr/bin/microshift|run", hostfstest.Files{}, "10%", 10 << 20, 5, "", "", "microshift", 0, true},
		{"RKE2 runs a kubelet of its own", "kubelet|--config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d|--root-dir=/var/lib/kubelet", hostfstest.Files{
			"/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00-rke2-defaults.conf": defaults,
		}, "5%", 10 << 20, 5, "", "/run/k3s/containerd/containerd.sock", "", 0, false},
		{"k0s too", "/var/lib/k0s/bin/kubelet|--config=/run/k0s/kubelet/config.yaml|--root-dir=/var/lib/k0s/kubelet|--container-runtime-endpoint=unix:///run/k0s/containerd.sock", hostfstest.Files{
			"/run/k0s/kubelet/config.yaml": hostfstest.KubeletHead,
		}, "10%", 10 << 20, 5, "/var/lib/k0s/kubelet", "/run/k0s/containerd.sock", "", 0, false},
		{"hyperkube", "/hyperkube|kubelet|--eviction-hard=nodefs.available<6%", hostfstest.Files{}, "6%", 10 << 20, 5, "", "", "", 0, false},
	} {
		k, ok, err := FindKubelet([]byte(strings.ReplaceAll(c.cmdline, "|", "\x00")+"\x00"), "", c.host.Files())
		if c.root == "" {
			c.root = "/var/lib/kubelet"
		}
		if !ok || k.Program != c.program || k.EvictionHard[SignalNodefsAvailable] != c.nodefs || k.LogMaxSizeBytes != c.size || k.LogMaxFiles != c.files ||
			k.RootDir != c.root || k.RuntimeSocket() != c.socket || len(k.Unseen) != c.warns || len(k.Warnings) != 0 || (err != nil) != c.wrong || (k.Error != "") != c.wrong {
			t.Errorf("%s: %+v, %v", c.name, k, err)
		}
		if k.Program != "" && k.Config == "" {
			t.Errorf("%s: no finding could name a file", c.name)
		}
	}
}

// The unit that runs k3s has its command line, whatever its name is.
func TestK3sUnit(t *testing.T) {
	const start = "[Service]\nExecStart=/usr/local/bin/k3s %s --kubelet-arg=eviction-hard=nodefs.available<9%%%%\n"
	unit := func(command string) string { return strings.NewReplacer("%s", command, "%%%%", "%%").Replace(start) }
	for _, c := range []struct {
		name, cmdline, unit string
		host                hostfstest.Files
		nodefs              string
		unseen              int
	}{
		{"INSTALL_K3S_NAME", "k3s server", "k3s-edge.service", hostfstest.Files{"/etc/systemd/system/k3s-edge.service": unit("server")}, "9%", 0},
		{"an agent with a name of its own", "k3s agent", "k3s-node2.service", hostfstest.Files{"/etc/systemd/system/k3s-node2.service": unit("agent"), "/etc/systemd/system/k3s-agent.service": "[Service]\nExecStart=/x agent\n"}, "9%", 0},
		{"an agent without a title", "k3s\x00agent", "", hostfstest.Files{"/etc/systemd/system/k3s-agent.service": unit("agent")}, "9%", 0},
		{"no unit", "k3s server", "session-1.scope", hostfstest.Files{"/etc/systemd/system/k3s.service": unit("server")}, "9%", 0},
		{"a variable for arguments", "k3s server", "", hostfstest.Files{
			"/etc/systemd/system/k3s.service": "[Service]\nExecStart=/usr/local/bin/k3s server $OPTS\n", "/etc/default/k3s": "OPTS=\"--debug --kubelet-arg=eviction-hard=nodefs.available<7%\"\n",
		}, "7%", 0},
		{"a variable within an argument", "k3s server", "", hostfstest.Files{
			"/etc/systemd/system/k3s.service": "[Service]\nEnvironment=\"SHARE=6\"\nExecStart=/usr/local/bin/k3s server --kubelet-arg eviction-hard=nodefs.available<${SHARE}%%\n",
		}, "6%", 0},
		{"a variable that is not known", "k3s server", "", hostfstest.Files{"/etc/systemd/system/k3s.service": "[Service]\nExecStart=/usr/local/bin/k3s server $OPTS\n"}, "5%", 1},
	} {
		k, _, err := FindKubelet([]byte(c.cmdline), c.unit, c.host.Files())
		if err != nil || k.EvictionHard[SignalNodefsAvailable] != c.nodefs || len(k.Unseen) != c.unseen || len(k.Warnings) != 0 {
			t.Errorf("%s: %+v, %v", c.name, k, err)
		}
	}
}

// k3s' own rules for the arguments of its kubelet.
func TestJoinK3sArgs(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "--d=1 --hard=a<1"},
		{"hard=b<2", "--d=1 --hard=b<2"},
		{"hard=b<2 hard=c<3", "--d=1 --hard=b<2 --hard=c<3"},
		{"hard+=b<2", "--d=1 --hard=a<1 --hard=b<2"},
		{"hard-=b<2", "--d=1 --hard=b<2 --hard=a<1"},
		{"hard+=b<2 hard=c<3", "--d=1 --hard=a<1 --hard=b<2 --hard=c<3"},
		{"hard=b<2 hard-=c<3", "--d=1 --hard=c<3 --hard=b<2"},
		{"x y+=2", "--d=1 --hard=a<1 --x=true --y=2"},
		{"= - + =5", "--d=1 --hard=a<1"},
	} {
		if got := strings.Join(joinK3sArgs([]string{"hard=a<1", "d=1"}, strings.Fields(c.args)), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.args, got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for s, want := range map[string]string{
		`a  b`: "a|b", `'a b' c`: "a b|c", `"a 'b"`: "a 'b", `a\ b`: "a b", `'a\b'`: `a\b`, `""`: "", `--x="y z"`: "--x=y z", `'open`: "open", "": "",
	} {
		if got := strings.Join(words(s), "|"); got != want {
			t.Errorf("%s: %q, want %q", s, got, want)
		}
	}
}

// Whatever the files of k3s and MicroK8s say: the figures are safe to act upon,
// and an argument in the command line counts.
func FuzzEmbeddedKubelet(f *testing.F) {
	f.Add("kubelet-arg: [eviction-hard=nodefs.available<8%]\ndata-dir: /x", "--container-log-max-size=1")
	f.Add("kubelet-arg: !", "--")
	f.Add("kubelet-arg+: {a: b}\nkubelet-arg: 5", "'--root-dir=$SNAP_COMMON' \"")
	f.Fuzz(func(t *testing.T, config, args string) {
		k, ok, _ := FindKubelet(hostfstest.Cmdline("k3s-server --kubelet-arg=container-log-max-files=7"), "", hostfstest.Files{"/etc/rancher/k3s/config.yaml": config}.Files())
		if !ok || k.LogMaxFiles != 7 || !strings.HasPrefix(k.RootDir, "/") || k.LogMaxSizeBytes >= 0 && k.LogMaxSizeBytes < minLogMaxSize {
			t.Fatalf("k3s: %+v", k)
		}
		k, ok, _ = FindKubelet(hostfstest.Cmdline("kubelite"), "", hostfstest.Files{"/var/snap/microk8s/current/args/kubelet": args + "\n--v=1\n--container-log-max-files=7\n"}.Files())
		if !ok || !strings.HasPrefix(k.RootDir, "/") || k.LogMaxFiles < 2 || k.LogMaxSizeBytes >= 0 && k.LogMaxSizeBytes < minLogMaxSize {
			t.Fatalf("MicroK8s: %+v", k)
		}
	})
}
