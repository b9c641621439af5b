package disk

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// files is a host's configuration: path to content.
type files map[string]string

func (f files) read(p string) ([]byte, error) {
	if s, ok := f[p]; ok {
		return []byte(s), nil
	}
	return nil, &os.PathError{Op: "open", Path: p, Err: os.ErrNotExist}
}

func (f files) list(dir string) ([]string, error) {
	var names []string
	for p := range f {
		if rel, ok := within(p, dir); ok && rel != "" {
			name, _, _ := strings.Cut(rel, "/")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if names == nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: os.ErrNotExist}
	}
	return names, nil
}

// kind knows directories by what lies below them.
func (f files) kind(p string) (fs.FileMode, error) {
	if _, ok := f[p]; ok {
		return 0, nil
	}
	for name := range f {
		if strings.HasPrefix(name, path.Join(p, "x")[:len(path.Join(p, "x"))-1]) {
			return fs.ModeDir, nil
		}
	}
	return 0, &os.PathError{Op: "open", Path: p, Err: os.ErrNotExist}
}

func (f files) files() hostFiles { return hostFiles{read: f.read, list: f.list, kind: f.kind} }

const kubeletHead = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

func TestFindKubelet(t *testing.T) {
	host := files{
		"/k/config.yaml": kubeletHead + "evictionHard: {nodefs.available: 1Gi}\ncontainerLogMaxSize: 50Mi\ncontainerLogMaxWorkers: 4\nunknown: [1]\n",
		"/k/d/10.conf":   kubeletHead + "containerLogMonitorInterval: 3s\npodLogsDir: /data/pods\n",
		"/k/d/20.conf":   kubeletHead + "containerLogMaxFiles: 9\n",
		"/k/d/30.yaml":   "containerLogMaxFiles: 99\n",
		"/k/merge.json":  `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","evictionHard":{"nodefs.available":"7%"},"mergeDefaultEvictionSettings":true}`,
		"/k/kubeconfig":  "apiVersion: v1\nkind: Config\n",
		"/k/nokind":      "containerLogMaxFiles: 9\n",
		"/k/oldapi":      "apiVersion: kubelet.config.k8s.io/v1alpha1\nkind: KubeletConfiguration\n",
		"/k/broken":      "{",
		"/k/types":       kubeletHead + "containerLogMaxFiles: many\n",
		"/k/off.yaml":    kubeletHead + "containerLogMaxSize: \"-1\"\n",
		"/k/plain.yaml":  kubeletHead,
		"/k/anchors":     kubeletHead + "x: &e {nodefs.available: 3%}\nevictionHard: *e\n",
		"/k/documents":   "---\n" + kubeletHead + "containerLogMaxFiles: 6\n---\n" + kubeletHead + "containerLogMaxFiles: 7\n",
		"/k/case":        kubeletHead + "ContainerLogMaxFiles: 7\n",
		"/k/soft": kubeletHead + "evictionSoft: {nodefs.available: 15%}\nevictionSoftGracePeriod: {nodefs.available: 1m}\n" +
			"evictionMinimumReclaim: {nodefs.available: 500Mi}\ncontainerRuntimeEndpoint: unix:///run/crio/crio.sock\n",
		"/merge/10-memory.conf":        kubeletHead + "evictionHard: {memory.available: 500Mi}\n",
		"/merge/20-team/05-null.conf":  kubeletHead + "evictionHard: {imagefs.available: null}\n",
		"/merge/20-team/sub/logs.conf": `{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","containerLogMaxSize":"50Mi"}`,
		"/merge/20-team/readme.md":     "not read",
		"/merge/30-last.conf":          kubeletHead + "evictionHard: {nodefs.available: 9%}\nmergeDefaultEvictionSettings: true\n",
		"/nokinds/10.conf":             "containerLogMaxFiles: 9\n",
		"/nulls/10.conf":               kubeletHead + "evictionHard: null\n",
		"/empty/10.conf":               "",
		kubeletConfigs[0]:              kubeletHead + "containerLogMaxFiles: 3\n",
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
			k.EvictionHard = map[string]string{nodefsAvailable: "8%", imagefsAvailable: "5%"}
		}, false},
		{"kubelet --config=/k/plain.yaml --eviction-hard=", func(k *Kubelet) { none(k); k.Config = "/k/plain.yaml" }, false},
		{"kubelet --config=/k/plain.yaml --eviction-soft=nodefs.available<20% --eviction-minimum-reclaim=nodefs.available=1Gi --container-runtime-endpoint=/run/x.sock", func(k *Kubelet) {
			k.Config, k.EvictionSoft, k.EvictionMinimumReclaim = "/k/plain.yaml", map[string]string{nodefsAvailable: "20%"}, map[string]string{nodefsAvailable: "1Gi"}
			k.RuntimeEndpoint = "/run/x.sock"
		}, false},
		{"kubelet --config=/k/plain.yaml -- --config=/k/off.yaml", func(k *Kubelet) { k.Config = "/k/plain.yaml" }, false},
		{"kubelet --config=/k/off.yaml --config k/plain.yaml", func(k *Kubelet) { k.Config = "/k/plain.yaml" }, false},
		{"kubelet --config /k/config.yaml --config-dir=/k/d --root-dir=/data/kubelet --v 2", func(k *Kubelet) {
			k.Config, k.RootDir, k.PodLogs = "/k/config.yaml", "/data/kubelet", "/data/pods"
			k.EvictionHard = map[string]string{nodefsAvailable: "1Gi"}
			k.LogMaxSizeBytes, k.LogMaxFiles, k.LogMaxWorkers, k.LogMonitorInterval = 50<<20, 9, 4, 3
		}, false},
		{"kubelet --config=/k/merge.json", func(k *Kubelet) {
			k.Config, k.EvictionHard[nodefsAvailable] = "/k/merge.json", "7%"
		}, false},
		// Each drop-in is a merge patch, also below subdirectories; a file without
		// evictionHard has the defaults before.
		{"kubelet --config=/k/plain.yaml --config-dir=/merge", func(k *Kubelet) {
			k.Config, k.LogMaxSizeBytes = "/k/plain.yaml", 50<<20
			k.EvictionHard = map[string]string{"memory.available": "500Mi", nodefsAvailable: "9%", nodefsInodesFree: "5%", imagefsInodesFree: "5%"}
		}, false},
		{"kubelet --config=/k/config.yaml --config-dir=/merge/20-team", func(k *Kubelet) {
			k.Config, k.LogMaxSizeBytes, k.LogMaxWorkers = "/k/config.yaml", 50<<20, 4
			k.EvictionHard = map[string]string{nodefsAvailable: "1Gi"}
		}, false},
		// Without a file nothing fills in defaults.
		{"kubelet --config-dir=/merge", func(k *Kubelet) {
			k.Config, k.LogMaxSizeBytes = "/merge", 50<<20
			k.EvictionHard = map[string]string{"memory.available": "500Mi", nodefsAvailable: "9%"}
		}, false},
		{"kubelet --config=/k/plain.yaml --config-dir=/nulls", func(k *Kubelet) { none(k); k.Config = "/k/plain.yaml" }, false},
		{"kubelet --config=/k/plain.yaml --config-dir=/nokinds", func(k *Kubelet) { k.Config = "/k/plain.yaml" }, true},
		{"kubelet --config=/k/plain.yaml --config-dir=/empty", func(k *Kubelet) { k.Config = "/k/plain.yaml" }, true},
		{"kubelet --config=/k/config.yaml --eviction-hard=imagefs.available<20%,memory.available<1Gi --container-log-max-size=1Gi --container-log-max-files=2", func(k *Kubelet) {
			k.Config, k.LogMaxWorkers = "/k/config.yaml", 4
			k.EvictionHard = map[string]string{imagefsAvailable: "20%", "memory.available": "1Gi"}
			k.LogMaxSizeBytes, k.LogMaxFiles = 1<<30, 2
		}, false},
		{"kubelet --config=/k/off.yaml", func(k *Kubelet) { k.Config, k.LogMaxSizeBytes = "/k/off.yaml", -1 }, false},
		{"kubelet --config=/k/anchors", func(k *Kubelet) {
			k.Config, k.EvictionHard = "/k/anchors", map[string]string{nodefsAvailable: "3%"}
		}, false},
		{"kubelet --config=/k/documents", func(k *Kubelet) { k.Config, k.LogMaxFiles = "/k/documents", 6 }, false},
		{"kubelet --config=/k/case", func(k *Kubelet) { k.Config = "/k/case" }, false},
		{"kubelet --config=/k/soft", func(k *Kubelet) {
			k.Config, k.EvictionSoft, k.EvictionMinimumReclaim = "/k/soft", map[string]string{nodefsAvailable: "15%"}, map[string]string{nodefsAvailable: "500Mi"}
			k.RuntimeEndpoint = "unix:///run/crio/crio.sock"
		}, false},
		{"kubelet --config=/k/kubeconfig", func(k *Kubelet) { k.Config = "/k/kubeconfig" }, true},
		{"kubelet --config=/k/nokind", func(k *Kubelet) { k.Config = "/k/nokind" }, true},
		{"kubelet --config=/k/oldapi", func(k *Kubelet) { k.Config = "/k/oldapi" }, true},
		{"kubelet --config=/k/types", func(k *Kubelet) { k.Config = "/k/types" }, true},
		{"kubelet --config=/k/broken", func(k *Kubelet) { k.Config = "/k/broken" }, true},
		{"kubelet --config=/k/none --config-dir=/k/nodir", func(k *Kubelet) { k.Config = "/k/none" }, true},
	} {
		want := defaultKubelet()
		want.Running = true
		c.change(&want)
		got, ok, err := findKubelet(cmdlineOf(c.cmdline), host.files())
		why := got.Error
		got.Error = ""
		if !ok || (err != nil) != c.wrong || (why != "") != c.wrong || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", c.cmdline, got, err, want)
		}
	}
	// None runs: what is installed.
	got, ok, err := findKubelet(nil, host.files())
	if !ok || err != nil || got.Running || got.LogMaxFiles != 3 {
		t.Errorf("installed: %+v, %v, %v", got, ok, err)
	}
	if got, ok, _ := findKubelet(nil, files{}.files()); ok {
		t.Errorf("a kubelet where there is none: %+v", got)
	}
}

// cmdlineOf returns a command line as /proc/PID/cmdline has it.
func cmdlineOf(s string) []byte { return []byte(strings.ReplaceAll(s, " ", "\x00") + "\x00") }

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
		{"evictionHard: {nodefs.available: 101%}", "", "nodefs.available is \"101%\"", func(k Kubelet) bool { return k.EvictionHard[nodefsAvailable] == "10%" }},
		{"evictionHard: {nodefs.available: -5%}", "", "nodefs.available", func(k Kubelet) bool { return k.EvictionHard[nodefsAvailable] == "10%" }},
		{"evictionHard: {imagefs.available: NaN%}", "", "imagefs.available", func(k Kubelet) bool { return k.EvictionHard[imagefsAvailable] == "15%" }},
		{"evictionHard: {nodefs.inodesFree: \"\"}", "", "nodefs.inodesFree", func(k Kubelet) bool { return k.EvictionHard[nodefsInodesFree] == "5%" }},
		{"evictionHard: {nodefs.available: 100%, imagefs.available: 0%}", "", "", func(k Kubelet) bool { return k.EvictionHard[nodefsAvailable] == "100%" }},
		{"evictionSoft: {nodefs.available: 200%}", "", "evictionSoft nodefs.available", func(k Kubelet) bool { return len(k.EvictionSoft) == 0 }},
		{"", "--eviction-hard=nodefs.available>5%", "not a pair", func(k Kubelet) bool { return len(k.EvictionHard) == 0 }},
	} {
		k, ok, err := findKubelet(cmdlineOf("kubelet --config=/c "+c.flags), files{"/c": kubeletHead + c.config + "\n"}.files())
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

func TestEvicts(t *testing.T) {
	k := defaultKubelet()
	f := Filesystem{SizeBytes: 1000, Inodes: 200, Roles: []Role{RoleLogs, RoleKubelet}}
	setEviction(&f, k.EvictionHard)
	if *f.EvictionAvailBytes != 100 || *f.EvictionInodesFree != 10 || f.EvictionSignal != nodefsAvailable {
		t.Errorf("nodefs: %d bytes, %d inodes, %s", *f.EvictionAvailBytes, *f.EvictionInodesFree, f.EvictionSignal)
	}
	f.Roles = append(f.Roles, RoleRuntime)
	setEviction(&f, k.EvictionHard)
	if *f.EvictionAvailBytes != 150 || f.EvictionSignal != imagefsAvailable {
		t.Errorf("one disk for both: %d bytes, %s", *f.EvictionAvailBytes, f.EvictionSignal)
	}
	f = Filesystem{SizeBytes: 1000, Roles: []Role{RoleLogs}}
	setEviction(&f, k.EvictionHard)
	if f.EvictionAvailBytes != nil {
		t.Error("the kubelet does not watch a filesystem that holds nothing but logs")
	}
}

func TestThreshold(t *testing.T) {
	for value, want := range map[string]uint64{"10%": 100, "1.5%": 15, "500": 500, "1k": 1000, "0%": 0, "100%": 0, "": 0, "x%": 0, "NaN%": 0, "-5%": 0, "-1": 0} {
		got, ok := threshold(value, 1000)
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
		k, ok, _ := findKubelet([]byte(cmdline), files{"/c": kubeletHead + config}.files())
		if !ok || !k.Running {
			t.Fatalf("%+v, %v", k, ok)
		}
		// pflag takes what follows a flag without '=' for its value.
		if !strings.Contains(flag, "--") && k.LogMaxFiles != 7 {
			t.Fatalf("LogMaxFiles %d, the flag says 7", k.LogMaxFiles)
		}
		for _, v := range k.EvictionHard {
			if n, ok := threshold(v, 1000); strings.HasSuffix(v, "%") && ok && n > 1000 {
				t.Fatalf("threshold %q of 1000 is %d", v, n)
			}
		}
		if k.LogMaxSizeBytes >= 0 && k.LogMaxSizeBytes < minLogMaxSize || k.LogMaxFiles < 2 || k.LogMaxWorkers < 1 || len(k.Warnings) > maxWarnings {
			t.Fatalf("not safe to act upon: %+v", k)
		}
		if !path.IsAbs(k.RootDir) || !path.IsAbs(k.PodLogs) {
			t.Fatalf("paths %q, %q", k.RootDir, k.PodLogs)
		}
	})
}
