package hostconfig

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// kubeletConfig are the fields of a KubeletConfiguration that matter here.
type kubeletConfig struct {
	EvictionHard                 map[string]string `json:"evictionHard"`
	EvictionSoft                 map[string]string `json:"evictionSoft"`
	EvictionMinimumReclaim       map[string]string `json:"evictionMinimumReclaim"`
	MergeDefaultEvictionSettings *bool             `json:"mergeDefaultEvictionSettings"`
	ContainerLogMaxSize          string            `json:"containerLogMaxSize"`
	ContainerLogMaxFiles         *int              `json:"containerLogMaxFiles"`
	ContainerLogMaxWorkers       *int              `json:"containerLogMaxWorkers"`
	ContainerLogMonitorInterval  string            `json:"containerLogMonitorInterval"`
	PodLogsDir                   string            `json:"podLogsDir"`
	ContainerRuntimeEndpoint     string            `json:"containerRuntimeEndpoint"`
}

// kubeletConfigFields are their names. The kubelet matches them case by case.
var kubeletConfigFields = []string{
	"evictionHard", "evictionSoft", "evictionMinimumReclaim", "mergeDefaultEvictionSettings",
	"containerLogMaxSize", "containerLogMaxFiles", "containerLogMaxWorkers", "containerLogMonitorInterval",
	"podLogsDir", "containerRuntimeEndpoint",
}

// parseKubeletConfig reads the first document of b, YAML or JSON, and returns
// the fields that matter. The kubelet does not start with a file that has
// another apiVersion or kind, or none; it passes over fields that it does not
// know.
func parseKubeletConfig(b []byte) (map[string]any, error) {
	var all map[string]any
	if err := yaml.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("not a KubeletConfiguration: %w", err)
	}
	if kind, _ := all["kind"].(string); kind != "KubeletConfiguration" {
		return nil, fmt.Errorf("not a KubeletConfiguration: kind is %.64q", kind)
	}
	if v, _ := all["apiVersion"].(string); v != "kubelet.config.k8s.io/v1beta1" {
		return nil, fmt.Errorf("not a KubeletConfiguration: apiVersion is %.64q, not kubelet.config.k8s.io/v1beta1", v)
	}
	c := map[string]any{}
	for _, name := range kubeletConfigFields {
		if v, ok := all[name]; ok {
			c[name] = v
		}
	}
	_, err := decodeKubeletConfig(c)
	return c, err
}

func decodeKubeletConfig(c map[string]any) (kubeletConfig, error) {
	var to kubeletConfig
	b, err := json.Marshal(c)
	if err == nil {
		err = json.Unmarshal(b, &to)
	}
	if err != nil {
		return kubeletConfig{}, fmt.Errorf("not a KubeletConfiguration: %w", err)
	}
	return to, nil
}

// defaultEvictions fills in what loadConfigFile of the kubelet fills into a
// --config file: the default thresholds where the file has none, or beside its
// own with mergeDefaultEvictionSettings (v1.32). In a drop-in that field has no
// effect.
func defaultEvictions(c map[string]any) {
	hard, _ := c["evictionHard"].(map[string]any)
	mergeIn, _ := c["mergeDefaultEvictionSettings"].(bool)
	if hard != nil && !mergeIn {
		return
	}
	hard = maps.Clone(hard)
	if hard == nil {
		hard = map[string]any{}
	}
	for signal, value := range defaultEviction {
		if _, ok := hard[signal]; !ok {
			hard[signal] = value
		}
	}
	c["evictionHard"] = hard
}

// mergePatch returns a with the JSON merge patch b (RFC 7386) applied: objects
// are merged key by key, null removes a key, and anything else replaces.
func mergePatch(a, b map[string]any) map[string]any {
	merged := maps.Clone(a)
	if merged == nil {
		merged = map[string]any{}
	}
	for key, value := range b {
		switch value := value.(type) {
		case nil:
			delete(merged, key)
		case map[string]any:
			old, _ := merged[key].(map[string]any)
			merged[key] = mergePatch(old, value)
		default:
			merged[key] = value
		}
	}
	return merged
}

// Bounds of a directory of drop-ins.
const (
	maxDropIns     = 1000
	maxDropInDepth = 16
)

// dropIns returns the *.conf files below dir, in the order of filepath.WalkDir:
// by name, a directory's files where its name stands. Links to directories are
// not followed, a link in place of dir included, as the kubelet does not.
func dropIns(host hostfs.HostFiles, dir string) ([]string, error) {
	var all []string
	var walk func(p string, depth int) error
	walk = func(p string, depth int) error {
		kind, err := host.Kind(p)
		if err != nil {
			return err
		}
		if !kind.IsDir() {
			if path.Ext(p) == ".conf" {
				all = append(all, p)
			}
			return nil
		}
		if depth > maxDropInDepth {
			return fmt.Errorf("%s is more than %d directories deep", p, maxDropInDepth)
		}
		names, err := host.List(p)
		if err != nil {
			return err
		}
		for _, name := range names {
			if len(all) >= maxDropIns {
				return fmt.Errorf("%s has more than %d drop-ins", dir, maxDropIns)
			}
			if err := walk(path.Join(p, name), depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return all, walk(dir, 0)
}

// loadKubeletConfig reads a kubelet's --config and --config-dir, either may be
// "", as the kubelet does: each drop-in is a JSON merge patch upon what the files
// before it gave (mergeKubeletConfigurations in cmd/kubelet/app/server.go).
func loadKubeletConfig(host hostfs.HostFiles, config, dir string) (map[string]any, error) {
	merged := map[string]any{}
	var errs []error
	load := func(p string) map[string]any {
		b, err := host.Read(p)
		var c map[string]any
		if err == nil {
			c, err = parseKubeletConfig(b)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("kubelet configuration %s: %w", p, err))
			return nil
		}
		return c
	}
	if config != "" {
		if c := load(config); c != nil {
			merged = c
		}
		defaultEvictions(merged)
	}
	if dir != "" {
		files, err := dropIns(host, dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("kubelet configuration directory %s: %w", dir, err))
		}
		for _, p := range files {
			merged = mergePatch(merged, load(p))
		}
	}
	return merged, errors.Join(errs...)
}

// apply sets k to what c configures.
func (k *Kubelet) apply(c map[string]any) error {
	to, err := decodeKubeletConfig(c)
	if err != nil {
		return err
	}
	k.EvictionHard = orEmpty(to.EvictionHard)
	k.EvictionSoft, k.EvictionMinimumReclaim = to.EvictionSoft, to.EvictionMinimumReclaim
	if to.ContainerLogMaxSize != "" {
		k.setLogMaxSize(to.ContainerLogMaxSize)
	}
	set(&k.LogMaxFiles, to.ContainerLogMaxFiles)
	set(&k.LogMaxWorkers, to.ContainerLogMaxWorkers)
	if s := to.ContainerLogMonitorInterval; s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			k.warn("containerLogMonitorInterval is %.40q, which is no duration: nodetune takes the default, %v s", s, k.LogMonitorInterval)
		} else {
			k.LogMonitorInterval = d.Seconds()
		}
	}
	if p := to.PodLogsDir; p != "" {
		if path.IsAbs(p) && path.Clean(p) == p {
			k.PodLogs = p
		} else {
			k.warn("podLogsDir is %.200q, and the kubelet accepts an absolute path without . and .. and a slash at its end: nodetune takes %s", p, k.PodLogs)
		}
	}
	if to.ContainerRuntimeEndpoint != "" {
		k.RuntimeEndpoint = to.ContainerRuntimeEndpoint
	}
	return nil
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func set(to *int, from *int) {
	if from != nil {
		*to = *from
	}
}

// setLogMaxSize takes a quantity; a negative one switches rotation off. With
// what is no quantity the kubelet does not start, so the value before stays.
func (k *Kubelet) setLogMaxSize(s string) {
	number, negative := strings.CutPrefix(s, "-")
	b, err := field.ParseBytes(strings.TrimPrefix(number, "+"))
	switch {
	case err != nil:
		k.warn("containerLogMaxSize is %.40q, which is no quantity of bytes: nodetune takes %s", s, field.Size(uint64(max(k.LogMaxSizeBytes, 0))))
	case negative && b > 0:
		k.LogMaxSizeBytes = -1
	default:
		k.LogMaxSizeBytes = int64(b)
	}
}

// FindKubelet returns the configuration of the kubelet whose command line this
// is, or, where that is empty because none runs, of the one that is installed.
// unit is the systemd unit of its process, "" where that is not known. ok is
// false where this host has neither.
func FindKubelet(cmdline []byte, unit string, host hostfs.HostFiles) (k Kubelet, ok bool, err error) {
	if len(cmdline) == 0 {
		k, ok := installedKubelet(host)
		return k, ok, nil
	}
	k = DefaultKubelet()
	k.Running = true
	err = k.read(cmdline, unit, host)
	if err != nil {
		k.Error = err.Error()
	}
	return k, true, err
}

// read takes what the kubelet with this command line takes.
func (k *Kubelet) read(cmdline []byte, unit string, host hostfs.HostFiles) error {
	args, err := kubeletArgs(cmdline, unit, host, k)
	errs := []error{err}
	flags := parseFlags(args)
	if dir := flags.last("root-dir"); path.IsAbs(dir) {
		k.RootDir = path.Clean(dir)
	}
	config, dir := inRoot(flags.last("config")), inRoot(flags.last("config-dir"))
	// Another program's own file is named before those that it passes on.
	k.Config = cmp.Or(k.Config, config, dir)
	c, err := loadKubeletConfig(host, config, dir)
	errs = append(errs, err)
	if err := k.apply(c); err != nil {
		errs = append(errs, err)
	}
	k.applyFlags(flags)
	k.check()
	return errors.Join(errs...)
}

// inRoot makes a relative path absolute. A service's working directory is the
// root directory.
func inRoot(p string) string {
	if p == "" {
		return ""
	}
	return path.Join("/", p)
}
