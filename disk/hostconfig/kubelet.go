package hostconfig

import (
	"fmt"
	"maps"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/nodetune/nodetune/internal/field"
)

// Kubelet is the configuration of this node's kubelet, as far as it concerns
// logs and disks. A value that is not configured is the kubelet's default (v1.34).
type Kubelet struct {
	Running bool `json:"running"`
	// Program is the process that contains the kubelet where that is not a
	// program of its own: k3s, kubelite (MicroK8s) or microshift.
	Program string `json:"program,omitempty"`
	Config  string `json:"config,omitempty"` // its --config or --config-dir, as the host sees it
	RootDir string `json:"root_dir"`
	PodLogs string `json:"pod_logs"`
	// Error is why its configuration could not be read. The values below must
	// then not be acted upon.
	Error string `json:"error,omitempty"`
	// Warnings are the values that the kubelet would reject or that are not
	// safe to act upon, with the value that is used in their place.
	Warnings []string `json:"warnings,omitempty"`

	// Unseen is what of its configuration cannot be known from here.
	Unseen []string `json:"unseen,omitempty"`

	Zone *time.Location `json:"-"` // of its clock; nil: UTC

	// EvictionHard maps a signal, for example nodefs.available, to its
	// threshold, "10%" or "1Gi". EvictionSoft are the thresholds that evict
	// after a grace period.
	EvictionHard           map[string]string `json:"eviction_hard"`
	EvictionSoft           map[string]string `json:"eviction_soft,omitempty"`
	EvictionMinimumReclaim map[string]string `json:"eviction_minimum_reclaim,omitempty"`

	LogMaxSizeBytes    int64   `json:"log_max_size_bytes"` // negative: rotation is off
	LogMaxFiles        int     `json:"log_max_files"`
	LogMaxWorkers      int     `json:"log_max_workers"`
	LogMonitorInterval float64 `json:"log_monitor_interval_seconds"`

	// RuntimeEndpoint is where its container runtime listens.
	RuntimeEndpoint string `json:"container_runtime_endpoint,omitempty"`
}

// The signals of the kubelet's eviction manager that a full disk sets off.
const (
	SignalNodefsAvailable   = "nodefs.available"
	SignalNodefsInodesFree  = "nodefs.inodesFree"
	SignalImagefsAvailable  = "imagefs.available"
	SignalImagefsInodesFree = "imagefs.inodesFree"
)

// defaultEviction are the kubelet's DefaultEvictionHard, in
// pkg/kubelet/eviction/defaults_linux.go, as far as disks go. It takes them for
// a --config file without evictionHard, and for nothing else: a kubelet with
// flags alone has no threshold (since v1.25).
var defaultEviction = map[string]string{
	SignalNodefsAvailable: "10%", SignalNodefsInodesFree: "5%", SignalImagefsAvailable: "15%", SignalImagefsInodesFree: "5%",
}

// DefaultKubelet returns the configuration of a kubelet that has no settings.
func DefaultKubelet() Kubelet {
	return Kubelet{
		RootDir: "/var/lib/kubelet", PodLogs: "/var/log/pods", EvictionHard: maps.Clone(defaultEviction),
		LogMaxSizeBytes: DefaultLogMaxSize, LogMaxFiles: 5, LogMaxWorkers: 1, LogMonitorInterval: 10,
	}
}

const (
	// DefaultLogMaxSize is the kubelet's containerLogMaxSize in bytes, where it is
	// not configured.
	DefaultLogMaxSize = 10 << 20
	// minLogMaxSize is the least size limit that is acted upon. With less the
	// kubelet's few archives hold moments of a log, and nodetune would rotate
	// without pause.
	minLogMaxSize = 1 << 20
)

// RuntimeSocket returns the path of the socket in RuntimeEndpoint, "" where
// there is none: unix:///path, unix:/path and a bare path are accepted.
func (k Kubelet) RuntimeSocket() string {
	p := strings.TrimPrefix(strings.TrimPrefix(k.RuntimeEndpoint, "unix:"), "//")
	if !path.IsAbs(p) {
		return ""
	}
	p = path.Clean(p)
	// On every host /var/run is a link to /run. An absolute link leads out of
	// a root directory that is mounted elsewhere.
	if rest, ok := strings.CutPrefix(p, "/var/run/"); ok {
		p = "/run/" + rest
	}
	return p
}

func (k *Kubelet) warn(format string, args ...any) {
	if len(k.Warnings) < MaxWarnings {
		k.Warnings = append(k.Warnings, fmt.Sprintf(format, args...))
	}
}

func (k *Kubelet) unseen(format string, args ...any) {
	if len(k.Unseen) < MaxWarnings {
		k.Unseen = append(k.Unseen, fmt.Sprintf(format, args...))
	}
}

// MaxWarnings bounds what one configuration can make nodetune report.
const MaxWarnings = 20

// check replaces each value that the kubelet would reject, or that is not safe
// to act upon, and reports it in Warnings.
func (k *Kubelet) check() {
	d := DefaultKubelet()
	if k.LogMaxSizeBytes >= 0 && k.LogMaxSizeBytes < minLogMaxSize {
		k.warn("containerLogMaxSize is %d bytes, less than 1 MiB: nodetune takes 1 MiB for its own rotation", k.LogMaxSizeBytes)
		k.LogMaxSizeBytes = minLogMaxSize
	}
	if k.LogMaxFiles <= 1 {
		k.warn("containerLogMaxFiles is %d, and the kubelet accepts 2 or more: nodetune takes the default, %d", k.LogMaxFiles, d.LogMaxFiles)
		k.LogMaxFiles = d.LogMaxFiles
	}
	if k.LogMaxWorkers < 1 {
		k.warn("containerLogMaxWorkers is %d, and the kubelet accepts 1 or more: nodetune takes the default, %d", k.LogMaxWorkers, d.LogMaxWorkers)
		k.LogMaxWorkers = d.LogMaxWorkers
	}
	if k.LogMonitorInterval < 3 {
		k.warn("containerLogMonitorInterval is %v s, and the kubelet accepts 3 s or more: nodetune takes the default, %v s", k.LogMonitorInterval, d.LogMonitorInterval)
		k.LogMonitorInterval = d.LogMonitorInterval
	}
	for _, signal := range []string{SignalNodefsAvailable, SignalNodefsInodesFree, SignalImagefsAvailable, SignalImagefsInodesFree} {
		value, ok := k.EvictionHard[signal]
		if ok && !validThreshold(value) {
			k.warn("evictionHard %s is %.40q, which is neither a percentage from 0%% to 100%% nor a positive quantity: nodetune takes the default, %s", signal, value, defaultEviction[signal])
			k.EvictionHard[signal] = defaultEviction[signal]
		}
		if value, ok := k.EvictionSoft[signal]; ok && !validThreshold(value) {
			k.warn("evictionSoft %s is %.40q, which is neither a percentage from 0%% to 100%% nor a positive quantity: nodetune ignores it", signal, value)
			delete(k.EvictionSoft, signal)
		}
	}
}

// validThreshold reports whether the kubelet accepts value as a threshold
// (parseThresholdStatement in pkg/kubelet/eviction/helpers.go).
func validThreshold(value string) bool {
	if p, ok := strings.CutSuffix(value, "%"); ok {
		share, err := strconv.ParseFloat(p, 32)
		return err == nil && share >= 0 && share <= 100
	}
	b, err := field.ParseBytes(value)
	return err == nil && b > 0
}

// Location is the time zone in which the kubelet names archives. It removes the
// first by name: among its own, names of another zone would be older or newer
// than they are.
func (k Kubelet) Location() *time.Location {
	if k.Zone == nil {
		return time.UTC
	}
	return k.Zone
}
