package disk

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"github.com/nodetune/nodetune/internal/field"
)

// Kubelet is what the kubelet of this node was told about logs and disks.
// Values that nobody set are its defaults (v1.34).
type Kubelet struct {
	Running bool   `json:"running"`
	Config  string `json:"config,omitempty"` // its --config, as the host sees it
	RootDir string `json:"root_dir"`
	PodLogs string `json:"pod_logs"`
	// Error says why its configuration could not be read: then the values below
	// are not to be acted upon.
	Error string `json:"error,omitempty"`

	Zone *time.Location `json:"-"` // of its clock; nil: UTC

	// EvictionHard maps a signal, for example nodefs.available, to its
	// threshold, "10%" or "1Gi".
	EvictionHard map[string]string `json:"eviction_hard"`

	LogMaxSizeBytes    int64   `json:"log_max_size_bytes"` // negative: rotation is off
	LogMaxFiles        int     `json:"log_max_files"`
	LogMaxWorkers      int     `json:"log_max_workers"`
	LogMonitorInterval float64 `json:"log_monitor_interval_seconds"`
}

// The signals of the kubelet's eviction manager that a full disk sets off.
const (
	nodefsAvailable   = "nodefs.available"
	nodefsInodesFree  = "nodefs.inodesFree"
	imagefsAvailable  = "imagefs.available"
	imagefsInodesFree = "imagefs.inodesFree"
)

// defaultEviction are the kubelet's DefaultEvictionHard, in
// pkg/kubelet/apis/config/v1beta1/defaults_linux.go, as far as disks go.
var defaultEviction = map[string]string{
	nodefsAvailable: "10%", nodefsInodesFree: "5%", imagefsAvailable: "15%", imagefsInodesFree: "5%",
}

func defaultKubelet() Kubelet {
	return Kubelet{
		RootDir: "/var/lib/kubelet", PodLogs: "/var/log/pods", EvictionHard: maps.Clone(defaultEviction),
		LogMaxSizeBytes: 10 << 20, LogMaxFiles: 5, LogMaxWorkers: 1, LogMonitorInterval: 10,
	}
}

// kubeletConfig are the fields of a KubeletConfiguration that matter here.
type kubeletConfig struct {
	Kind                         string            `json:"kind"`
	EvictionHard                 map[string]string `json:"evictionHard"`
	MergeDefaultEvictionSettings *bool             `json:"mergeDefaultEvictionSettings"`
	ContainerLogMaxSize          string            `json:"containerLogMaxSize"`
	ContainerLogMaxFiles         *int              `json:"containerLogMaxFiles"`
	ContainerLogMaxWorkers       *int              `json:"containerLogMaxWorkers"`
	ContainerLogMonitorInterval  string            `json:"containerLogMonitorInterval"`
	PodLogsDir                   string            `json:"podLogsDir"`
}

// parseKubeletConfig reads b over k. Unknown fields are the kubelet's affair.
func parseKubeletConfig(b []byte, k *Kubelet) error {
	var c kubeletConfig
	if err := yaml.Unmarshal(b, &c); err != nil {
		return fmt.Errorf("not a KubeletConfiguration: %w", err)
	}
	if c.Kind != "" && c.Kind != "KubeletConfiguration" {
		return fmt.Errorf("not a KubeletConfiguration: kind is %.64q", c.Kind)
	}
	if c.EvictionHard != nil {
		// What is not named is off, unless the defaults are to be merged in
		// (v1.32).
		k.EvictionHard = map[string]string{}
		if c.MergeDefaultEvictionSettings != nil && *c.MergeDefaultEvictionSettings {
			maps.Copy(k.EvictionHard, defaultEviction)
		}
		maps.Copy(k.EvictionHard, c.EvictionHard)
	}
	if c.ContainerLogMaxSize != "" {
		k.setLogMaxSize(c.ContainerLogMaxSize)
	}
	set(&k.LogMaxFiles, c.ContainerLogMaxFiles)
	set(&k.LogMaxWorkers, c.ContainerLogMaxWorkers)
	if d, err := time.ParseDuration(c.ContainerLogMonitorInterval); err == nil && d > 0 {
		k.LogMonitorInterval = d.Seconds()
	}
	if path.IsAbs(c.PodLogsDir) {
		k.PodLogs = path.Clean(c.PodLogsDir)
	}
	return nil
}

func set(to *int, from *int) {
	if from != nil {
		*to = *from
	}
}

// setLogMaxSize takes a quantity; a negative one switches rotation off. What
// is no quantity would have stopped the kubelet, so the value before stays.
func (k *Kubelet) setLogMaxSize(s string) {
	if strings.HasPrefix(s, "-") {
		k.LogMaxSizeBytes = -1
	} else if b, err := field.ParseBytes(s); err == nil {
		k.LogMaxSizeBytes = int64(b)
	}
}

// kubeletFlags returns the value of each flag of a NUL-separated command line,
// in both spellings. The kubelet's flags are pflag's: the last one counts.
func kubeletFlags(cmdline []byte) map[string]string {
	flags := map[string]string{}
	args := strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	for i := 1; i < len(args); i++ {
		name, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			continue
		}
		if name == "" {
			break
		}
		if name, value, ok := strings.Cut(name, "="); ok {
			flags[name] = value
		} else if i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			flags[name] = args[i+1]
			i++
		}
	}
	return flags
}

// applyFlags puts the flags over the configuration, as the kubelet does.
func (k *Kubelet) applyFlags(flags map[string]string) {
	if s, ok := flags["eviction-hard"]; ok {
		k.EvictionHard = map[string]string{}
		for one := range strings.SplitSeq(s, ",") {
			if signal, value, ok := strings.Cut(one, "<"); ok {
				k.EvictionHard[strings.TrimSpace(signal)] = strings.TrimSpace(value)
			}
		}
	}
	if s, ok := flags["container-log-max-size"]; ok {
		k.setLogMaxSize(s)
	}
	if n, err := strconv.Atoi(flags["container-log-max-files"]); err == nil {
		k.LogMaxFiles = n
	}
}

// kubeletConfigs are where distributions keep the configuration, for when no
// kubelet runs: kubeadm and most, EKS, OpenShift, GKE.
var kubeletConfigs = []string{
	"/var/lib/kubelet/config.yaml",
	"/etc/kubernetes/kubelet/config.json",
	"/etc/kubernetes/kubelet/kubelet-config.json",
	"/etc/kubernetes/kubelet.conf",
	"/home/kubernetes/kubelet-config.yaml",
}

// maxConfig is more than any kubelet, journald, logrotate or Docker
// configuration has.
const maxConfig = 1 << 20

// findKubelet returns the configuration of the kubelet whose command line this
// is, or, where that is empty because none runs, of the one that is installed.
// ok is false where this host has neither. read reads a file of the host.
func findKubelet(cmdline []byte, read func(string) ([]byte, error), list func(string) ([]string, error)) (k Kubelet, ok bool, err error) {
	k = defaultKubelet()
	if len(cmdline) == 0 {
		for _, p := range kubeletConfigs {
			b, err := read(p)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			// OpenShift's path is a kubeconfig with kubeadm.
			if err == nil && parseKubeletConfig(b, &k) == nil {
				k.Config = p
				return k, true, nil
			}
		}
		return Kubelet{}, false, nil
	}
	k.Running = true
	flags := kubeletFlags(cmdline)
	if dir := flags["root-dir"]; path.IsAbs(dir) {
		k.RootDir = path.Clean(dir)
	}
	var errs []error
	take := func(p string) {
		b, err := read(p)
		if err == nil {
			err = parseKubeletConfig(b, &k)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("kubelet configuration %s: %w", p, err))
		}
	}
	if k.Config = flags["config"]; k.Config != "" {
		take(k.Config)
	}
	if dir := flags["config-dir"]; dir != "" {
		names, err := list(dir)
		if err != nil {
			errs = append(errs, err)
		}
		for _, name := range names { // sorted; the kubelet takes *.conf alone
			if strings.HasSuffix(name, ".conf") {
				take(filepath.Join(dir, name))
			}
		}
	}
	k.applyFlags(flags)
	err = errors.Join(errs...)
	if err != nil {
		k.Error = err.Error()
	}
	return k, true, err
}

// kubelet finds the kubelet, and the UIDs of the pods it has, nil where they
// are not known. Its files are read below the root of its process where that can
// be opened: a pod has none of its directories mounted, and the kubelet itself
// may live in a container, as on Talos.
func (o *Observer) kubelet() (k Kubelet, pods map[string]bool, found bool, err error) {
	host, done := o.kubeletRoot()
	defer done()
	k, found, err = findKubelet(o.cmdline(o.walked.kubelet), host.readFile, host.list)
	if tz, err := host.readFile("/etc/localtime"); err == nil {
		if zone, err := time.LoadLocationFromTZData("the host's", tz); err == nil {
			k.Zone = zone
		}
	}
	if names, err := host.list(path.Join(k.RootDir, "pods")); found && err == nil {
		pods = map[string]bool{}
		for _, uid := range names {
			pods[uid] = true
		}
	}
	return k, pods, found, err
}

// location is the time zone in which the kubelet names archives. It removes the
// first by name: among its own, names of another zone would be older or newer
// than they are.
func (k Kubelet) location() *time.Location {
	if k.Zone == nil {
		return time.UTC
	}
	return k.Zone
}

// kubeletRoot is the root directory of the kubelet's process, or else the host's.
func (o *Observer) kubeletRoot() (host hostRoot, done func()) {
	if pid := o.walked.kubelet; pid != 0 {
		if root, err := rootOf(o.procfs, pid); err == nil {
			return root, func() { _ = unix.Close(int(root)) }
		}
	}
	return hostRoot(o.rootfs), func() {}
}
