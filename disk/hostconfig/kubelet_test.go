package hostconfig

import (
	"fmt"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/nodetune/nodetune/internal/hostfstest"
)

func TestFindKubelet(t *testing.T) {
	host := hostfstest.Files{
		"/k/config.yaml": hostfstest.KubeletHead + "evictionHard: {nodefs.available: 1Gi}\ncontainerLogMaxSize: 50Mi\ncontainerLogMaxWorkers: 4\nunknown: [1]\n",
		"/k/d/10.conf":   hostfstest.KubeletHead + "containerLogMonitorInterval: 3s\npodLogsDir: /data/pods\n",
		"/k/d/20.conf":   hostfstest.KubeletHead + "containerLogMaxFiles: 9\n",
		"/k/d/30.yaml":   "containerLogMaxFiles: 99\n",
		"/k/merge.json":  `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","evictionHard":{"nodefs.available":"7%"},"mergeDefaultEvictionSettings":true}`,
		"/k/kubeconfig":  "apiVersion: v1\nkind: Config\n",
		"/k/nokind":      "containerLogMaxFiles: 9\n",
		"/k/oldapi":      "apiVersion: kubelet.config.k8s.io/v1alpha1\nkind: KubeletConfiguration\n",
		"/k/broken":      "{",
		"/k/types":       hostfstest.KubeletHead + "containerLogMaxFiles: many\n",
		"/k/off.yaml":    hostfstest.KubeletHead + "containerLogMaxSize: \"-1\"\n",
		"/k/plain.yaml":  hostfstest.KubeletHead,
		"/k/anchors":     hostfstest.KubeletHead + "x: &e {nodefs.available: 3%}\nevictionHard: *e\n",
		"/k/documents":   "---\n" + hostfstest.KubeletHead + "containerLogMaxFiles: 6\n---\n" + hostfstest.KubeletHead + "containerLogMaxFiles: 7\n",
		"/k/case":        hostfstest.KubeletHead + "ContainerLogMaxFiles: 7\n",
		"/k/soft": hostfstest.KubeletHead + "evictionSoft: {nodefs.available: 15%}\nevictionSoftGracePeriod: {nodefs.available: 1m}\n" +
			"evictionMinimumReclaim: {nodefs.available: 500Mi}\ncontainerRuntimeEndpoint: unix:///run/crio/crio.sock\n",
		"/merge/10-memory.conf":        hostfstest.KubeletHead + "evictionHard: {memory.available: 500Mi}\n",
		"/merge/20-team/05-null.conf":  hostfstest.KubeletHead + "evictionHard: {imagefs.available: null}\n",
		"/merge/20-team/sub/logs.conf": `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","containerLogMaxSize":"50Mi"}`,
		"/merge/20-team/readme.md":     "not read",
		"/merge/30-last.conf":          hostfstest.KubeletHead + "evictionHard: {nodefs.available: 9%}\nmergeDefaultEvictionSettings: true\n",
		"/nokinds/10.conf":             "containerLogMaxFiles: 9\n",
		"/nulls/10.conf":               hostfstest.KubeletHead + "evictionHard: null\n",
		"/empty/10.conf":               "",
		installedKubelets[0].path:      hostfstest.KubeletHead + "containerLogMaxFiles: 3\n",
		"/etc/unrelated.yaml":          "x",
	}
	none := func(k *Kubelet) { k.EvictionHard = map[string]string{} }
	for _, c := range []struct {
		cmdline string // blanks for NULs
		change  func(*Kubelet)
		wrong   bool
	}{
		// Flags alone: since v1.25 there is no default threshold.
		{"kubelet", none, false},
		{"kubelet --container_log_max_files=7 --container-log-max-size 20Mi", func(k *Kubelet) { none(k); k.LogMaxFiles, k.LogMaxSizeBytes = 7, 20<<20 }, false},
		{"kubelet --eviction-hard=nodefs.available<8% --eviction-hard=imagefs.available<5%,", func(k *Kubelet) {
			k.EvictionHard = map[string]string{SignalNodefsAvailable: "8%", SignalImagefsAvailable: "5%"}
		}, false},
		{"kubelet --config=/k/plain.yaml --eviction-hard=", func(k *Kubelet) { none(k); k.Config = "/k/plain.yaml" }, false},
		{"kubelet --config=/k/plain.yaml --eviction-soft=nodefs.available<20% --eviction-minimum-reclaim=nodefs.available=1Gi --container-runtime-endpoint=/run/x.sock", func(k *Kubelet) {
			k.Config, k.EvictionSoft, k.EvictionMinimumReclaim = "/k/plain.yaml", map[string]string{SignalNodefsAvailable: "20%"}, map[string]string{SignalNodefsAvailable: "1Gi"}
			k.RuntimeEndpoint = "/run/x.sock"
		}, false},
		{"kubelet --config=/k/plain.yaml -- --config=/k/off.yaml", func(k *Kubelet) { k.Config = "/k/plain.yaml" }, false},
		{"kubelet --config=/k/off.yaml --config k/plain.yaml", func(k *Kubelet) { k.Config = "/k/plain.yaml" }, false},
		{"kubelet --config /k/config.yaml --config-dir=/k/d --root-dir=/data/kubelet --v 2", func(k *Kubelet) {
			k.Config, k.RootDir, k.PodLogs = "/k/config.yaml", "/data/kubelet", "/data/pods"
			k.EvictionHard = map[string]string{SignalNodefsAvailable: "1Gi"}
			k.LogMaxSizeBytes, k.LogMaxFiles, k.LogMaxWorkers, k.LogMonitorInterval = 50<<20, 9, 4, 3
		}, false},
		{"kubelet --config=/k/merge.json", func(k *Kubelet) {
			k.Config, k.EvictionHard[SignalNodefsAvailable] = "/k/merge.json", "7%"
		}, false},
		// Each drop-in is a merge patch, also below subdirectories; a file without
		// evictionHard has the defaults before.
		{"kubelet --config=/k/plain.yaml --config-dir=/merge", func(k *Kubelet) {
			k.Config, k.LogMaxSizeBytes = "/k/plain.yaml", 50<<20
			k.EvictionHard = map[string]string{"memory.available": "500Mi", SignalNodefsAvailable: "9%", SignalNodefsInodesFree: "5%", SignalImagefsInodesFree: "5%"}
		}, false},
		{"kubelet --config=/k/config.yaml --config-dir=/merge/20-team", func(k *Kubelet) {
			k.Config, k.LogMaxSizeBytes, k.LogMaxWorkers = "/k/config.yaml", 50<<20, 4
			k.EvictionHard = map[string]string{SignalNodefsAvailable: "1Gi"}
		}, false},
		// Without a file nothing fills in defaults.
		{"kubelet --config-dir=/merge", func(k *Kubelet) {
			k.Config, k.LogMaxSizeBytes = "/merge", 50<<20
			k.EvictionHard = map[string]string{"memory.available": "500Mi", SignalNodefsAvailable: "9%"}
		}, false},
		{"kubelet --config=/k/plain.yaml --config-dir=/nulls", func(k *Kubelet) { none(k); k.Config = "/k/plain.yaml" }, false},
		{"kubelet --config=/k/plain.yaml --config-dir=/nokinds", func(k *Kubelet) { k.Config = "/k/plain.yaml" }, true},
		{"kubelet --config=/k/plain.yaml --config-dir=/empty", func(k *Kubelet) { k.Config = "/k/plain.yaml" }, true},
		{"kubelet --config=/k/config.yaml --eviction-hard=imagefs.available<20%,memory.available<1Gi --container-log-max-size=1Gi --container-log-max-files=2", func(k *Kubelet) {
			k.Config, k.LogMaxWorkers = "/k/config.yaml", 4
			k.EvictionHard = map[string]string{SignalImagefsAvailable: "20%", "memory.available": "1Gi"}
			k.LogMaxSizeBytes, k.LogMaxFiles = 1<<30, 2
		}, false},
		{"kubelet --config=/k/off.yaml", func(k *Kubelet) { k.Config, k.LogMaxSizeBytes = "/k/off.yaml", -1 }, false},
		{"kubelet --config=/k/anchors", func(k *Kubelet) {
			k.Config, k.EvictionHard = "/k/anchors", map[string]string{SignalNodefsAvailable: "3%"}
		}, false},
		{"kubelet --config=/k/documents", func(k *Kubelet) { k.Config, k.LogMaxFiles = "/k/documents", 6 }, false},
		{"kubelet --config=/k/case", func(k *Kubelet) { k.Config = "/k/case" }, false},
		{"kubelet --config=/k/soft", func(k *Kubelet) {
			k.Config, k.EvictionSoft, k.EvictionMinimumReclaim = "/k/soft", map[string]string{SignalNodefsAvailable: "15%"}, map[string]string{SignalNodefsAvailable: "500Mi"}
			k.RuntimeEndpoint = "unix:///run/crio/crio.sock"
		}, false},
		{"kubelet --config=/k/kubeconfig", func(k *Kubelet) { k.Config = "/k/kubeconfig" }, true},
		{"kubelet --config=/k/nokind", func(k *Kubelet) { k.Config = "/k/nokind" }, true},
		{"kubelet --config=/k/oldapi", func(k *Kubelet) { k.Config = "/k/oldapi" }, true},
		{"kubelet --config=/k/types", func(k *Kubelet) { k.Config = "/k/types" }, true},
		{"kubelet --config=/k/broken", func(k *Kubelet) { k.Config = "/k/broken" }, true},
		{"kubelet --config=/k/none --config-dir=/k/nodir", func(k *Kubelet) { k.Config = "/k/none" }, true},
	} {
		want := DefaultKubelet()
		want.Running = true
		c.change(&want)
		got, ok, err := FindKubelet(hostfstest.Cmdline(c.cmdline), "", host.Files())
		why := got.Error
		got.Error = ""
		if !ok || (err != nil) != c.wrong || (why != "") != c.wrong || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", c.cmdline, got, err, want)
		}
	}
	// None runs: what is installed.
	got, ok, err := FindKubelet(nil, "", host.Files())
	if !ok || err != nil || got.Running || got.LogMaxFiles != 3 {
		t.Errorf("installed: %+v, %v, %v", got, ok, err)
	}
	if got, ok, _ := FindKubelet(nil, "", hostfstest.Files{}.Files()); ok {
		t.Errorf("a kubelet where there is none: %+v", got)
	}
}

// A value that the kubelet rejects, or that is not safe to act upon, is reported
// and not used.
func TestKubeletValuesOutOfRange(t *testing.T) {
	for _, c := range []struct {
		config, flags string
		warns         string // part of the only warning
		check         func(Kubelet) bool
	}{
		{"containerLogMaxSize: 1k", "", "containerLogMaxSize is 1000 bytes", func(k Kubelet) bool { return k.LogMaxSizeBytes == 1<<20 }},
		{"containerLogMaxSize: \"0\"", "", "containerLogMaxSize is 0 bytes", func(k Kubelet) bool { return k.LogMaxSizeBytes == 1<<20 }},
		{"containerLogMaxSize: 1Mi", "", "", func(k Kubelet) bool { return k.LogMaxSizeBytes == 1<<20 }},
		{"containerLogMaxSize: ten", "", "no quantity", func(k Kubelet) bool { return k.LogMaxSizeBytes == 10<<20 }},
		{"containerLogMaxSize: -5Mi", "", "", func(k Kubelet) bool { return k.LogMaxSizeBytes == -1 }},
		{"", "--container-log-max-size=100", "containerLogMaxSize is 100 bytes", func(k Kubelet) bool { return k.LogMaxSizeBytes == 1<<20 }},
		{"containerLogMaxFiles: 1", "", "containerLogMaxFiles is 1", func(k Kubelet) bool { return k.LogMaxFiles == 5 }},
		{"containerLogMaxFiles: -4", "", "containerLogMaxFiles is -4", func(k Kubelet) bool { return k.LogMaxFiles == 5 }},
		{"", "--container-log-max-files=x", "no number", func(k Kubelet) bool { return k.LogMaxFiles == 5 }},
		{"containerLogMaxWorkers: 0", "", "containerLogMaxWorkers is 0", func(k Kubelet) bool { return k.LogMaxWorkers == 1 }},
		{"containerLogMonitorInterval: 1s", "", "containerLogMonitorInterval is 1 s", func(k Kubelet) bool { return k.LogMonitorInterval == 10 }},
		{"containerLogMonitorInterval: soon", "", "no duration", func(k Kubelet) bool { return k.LogMonitorInterval == 10 }},
		{"podLogsDir: logs", "", "podLogsDir", func(k Kubelet) bool { return k.PodLogs == "/var/log/pods" }},
		{"podLogsDir: /data/../etc", "", "podLogsDir", func(k Kubelet) bool { return k.PodLogs == "/var/log/pods" }},
		{"evictionHard: {nodefs.available: 101%}", "", "nodefs.available is \"101%\"", func(k Kubelet) bool { return k.EvictionHard[SignalNodefsAvailable] == "10%" }},
		{"evictionHard: {nodefs.available: -5%}", "", "nodefs.available", func(k Kubelet) bool { return k.EvictionHard[SignalNodefsAvailable] == "10%" }},
		{"evictionHard: {imagefs.available: NaN%}", "", "imagefs.available", func(k Kubelet) bool { return k.EvictionHard[SignalImagefsAvailable] == "15%" }},
		{"evictionHard: {nodefs.inodesFree: \"\"}", "", "nodefs.inodesFree", func(k Kubelet) bool { return k.EvictionHard[SignalNodefsInodesFree] == "5%" }},
		{"evictionHard: {nodefs.available: 100%, imagefs.available: 0%}", "", "", func(k Kubelet) bool { return k.EvictionHard[SignalNodefsAvailable] == "100%" }},
		{"evictionSoft: {nodefs.available: 200%}", "", "evictionSoft nodefs.available", func(k Kubelet) bool { return len(k.EvictionSoft) == 0 }},
		{"", "--eviction-hard=nodefs.available>5%", "not a pair", func(k Kubelet) bool { return len(k.EvictionHard) == 0 }},
	} {
		k, ok, err := FindKubelet(hostfstest.Cmdline("kubelet --config=/c "+c.flags), "", hostfstest.Files{"/c": hostfstest.KubeletHead + c.config + "\n"}.Files())
		if !ok || err != nil || !c.check(k) {
			t.Errorf("%s %s: %+v, %v", c.config, c.flags, k, err)
		}
		if c.warns == "" && len(k.Warnings) == 0 {
			continue
		}
		if len(k.Warnings) != 1 || c.warns == "" || !strings.Contains(k.Warnings[0], c.warns) {
			t.Errorf("%s %s: warnings %q, want %q", c.config, c.flags, k.Warnings, c.warns)
		}
	}
}

func TestRuntimeSocket(t *testing.T) {
	for endpoint, want := range map[string]string{
		"unix:///run/containerd/containerd.sock": "/run/containerd/containerd.sock",
		"unix:/run/crio/crio.sock":               "/run/crio/crio.sock",
		"/var/run/cri-dockerd.sock":              "/run/cri-dockerd.sock",
		"unix:///var/run/crio/crio.sock":         "/run/crio/crio.sock",
		"tcp://127.0.0.1:1":                      "",
		"npipe:////./pipe/x":                     "",
		"":                                       "",
		"unix://":                                "",
	} {
		if got := (Kubelet{RuntimeEndpoint: endpoint}).RuntimeSocket(); got != want {
			t.Errorf("%q: %q, want %q", endpoint, got, want)
		}
	}
}

func TestThreshold(t *testing.T) {
	for value, want := range map[string]uint64{"10%": 100, "1.5%": 15, "500": 500, "1k": 1000, "0%": 0, "100%": 0, "": 0, "x%": 0, "NaN%": 0, "-5%": 0, "-1": 0} {
		got, ok := ParseThreshold(value, 1000)
		if ok != (want != 0) || ok && got != want {
			t.Errorf("threshold(%q) = %d, %v; want %d", value, got, ok, want)
		}
	}
}

// Whatever the files say: no threshold is above the disk's size, and flags
// beat the file.
func FuzzKubelet(f *testing.F) {
	f.Add("evictionHard: {nodefs.available: 10%}\ncontainerLogMaxSize: 10Mi", "--container-log-max-files=7")
	f.Add("a: &a [*a, *a]", "--")
	f.Fuzz(func(t *testing.T, config, flag string) {
		cmdline := fmt.Sprintf("kubelet\x00--config=/c\x00%s\x00--container-log-max-files=7\x00", flag)
		k, ok, _ := FindKubelet([]byte(cmdline), "", hostfstest.Files{"/c": hostfstest.KubeletHead + config}.Files())
		if !ok || !k.Running {
			t.Fatalf("%+v, %v", k, ok)
		}
		// pflag takes the argument after a flag without '=' for its value.
		if !strings.Contains(flag, "--") && k.LogMaxFiles != 7 {
			t.Fatalf("LogMaxFiles %d, the flag says 7", k.LogMaxFiles)
		}
		for _, v := range k.EvictionHard {
			if n, ok := ParseThreshold(v, 1000); strings.HasSuffix(v, "%") && ok && n > 1000 {
				t.Fatalf("threshold %q of 1000 is %d", v, n)
			}
		}
		if k.LogMaxSizeBytes >= 0 && k.LogMaxSizeBytes < minLogMaxSize || k.LogMaxFiles < 2 || k.LogMaxWorkers < 1 || len(k.Warnings) > MaxWarnings {
			t.Fatalf("not safe to act upon: %+v", k)
		}
		if !path.IsAbs(k.RootDir) || !path.IsAbs(k.PodLogs) {
			t.Fatalf("paths %q, %q", k.RootDir, k.PodLogs)
		}
	})
}
