package disk

import (
	"fmt"
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
		if path.Dir(p) == dir {
			names = append(names, path.Base(p))
		}
	}
	slices.Sort(names)
	if names == nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: os.ErrNotExist}
	}
	return names, nil
}

func TestFindKubelet(t *testing.T) {
	host := files{
		"/k/config.yaml":      "kind: KubeletConfiguration\nevictionHard: {nodefs.available: 1Gi}\ncontainerLogMaxSize: 50Mi\ncontainerLogMaxWorkers: 4\nunknown: [1]\n",
		"/k/d/10.conf":        "containerLogMonitorInterval: 3s\npodLogsDir: /data/pods/\n",
		"/k/d/20.conf":        "containerLogMaxFiles: 9\n",
		"/k/d/30.yaml":        "containerLogMaxFiles: 99\n",
		"/k/merge.json":       `{"evictionHard":{"nodefs.available":"7%"},"mergeDefaultEvictionSettings":true}`,
		"/k/kubeconfig":       "kind: Config\n",
		"/k/broken":           "{",
		"/k/off.yaml":         "containerLogMaxSize: \"-1\"\n",
		kubeletConfigs[0]:     "containerLogMaxFiles: 3\n",
		"/etc/unrelated.yaml": "x",
	}
	for _, c := range []struct {
		cmdline string // blanks for NULs
		change  func(*Kubelet)
		wrong   bool
	}{
		{"kubelet", func(*Kubelet) {}, false},
		{"kubelet --config /k/config.yaml --config-dir=/k/d --root-dir=/data/kubelet --v 2", func(k *Kubelet) {
			k.Config, k.RootDir, k.PodLogs = "/k/config.yaml", "/data/kubelet", "/data/pods"
			k.EvictionHard = map[string]string{nodefsAvailable: "1Gi"}
			k.LogMaxSizeBytes, k.LogMaxFiles, k.LogMaxWorkers, k.LogMonitorInterval = 50<<20, 9, 4, 3
		}, false},
		{"kubelet --config=/k/merge.json", func(k *Kubelet) {
			k.Config, k.EvictionHard[nodefsAvailable] = "/k/merge.json", "7%"
		}, false},
		{"kubelet --config=/k/config.yaml --eviction-hard=imagefs.available<20%,memory.available<1Gi --container-log-max-size=1Gi --container-log-max-files=2", func(k *Kubelet) {
			k.Config, k.LogMaxWorkers = "/k/config.yaml", 4
			k.EvictionHard = map[string]string{imagefsAvailable: "20%", "memory.available": "1Gi"}
			k.LogMaxSizeBytes, k.LogMaxFiles = 1<<30, 2
		}, false},
		{"kubelet --config=/k/off.yaml", func(k *Kubelet) { k.Config, k.LogMaxSizeBytes = "/k/off.yaml", -1 }, false},
		{"kubelet --config=/k/kubeconfig", func(k *Kubelet) { k.Config = "/k/kubeconfig" }, true},
		{"kubelet --config=/k/broken", func(k *Kubelet) { k.Config = "/k/broken" }, true},
		{"kubelet --config=/k/none --config-dir=/k/nodir", func(k *Kubelet) { k.Config = "/k/none" }, true},
	} {
		want := defaultKubelet()
		want.Running = true
		c.change(&want)
		got, ok, err := findKubelet([]byte(strings.ReplaceAll(c.cmdline, " ", "\x00")+"\x00"), host.read, host.list)
		said := got.Error
		got.Error = ""
		if !ok || (err != nil) != c.wrong || (said != "") != c.wrong || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", c.cmdline, got, err, want)
		}
	}
	// None runs: what is installed.
	got, ok, err := findKubelet(nil, host.read, host.list)
	if !ok || err != nil || got.Running || got.LogMaxFiles != 3 {
		t.Errorf("installed: %+v, %v, %v", got, ok, err)
	}
	if got, ok, _ := findKubelet(nil, files{}.read, files{}.list); ok {
		t.Errorf("a kubelet where there is none: %+v", got)
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
		k, ok, _ := findKubelet([]byte(cmdline), files{"/c": config}.read, files{}.list)
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
		if !path.IsAbs(k.RootDir) || !path.IsAbs(k.PodLogs) {
			t.Fatalf("paths %q, %q", k.RootDir, k.PodLogs)
		}
	})
}
