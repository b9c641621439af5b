package view

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Report is the document of /report and of `nodetune check -o json`.
type Report struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Sysctl     *Sysctl           `json:"sysctl"`
	Inotify    *Inotify          `json:"inotify"`
	Disk       *Disk             `json:"disk"`
	Errors     map[string]string `json:"errors"`
}

// Sysctl is the section of the kernel's settings.
type Sysctl struct {
	Paused   string   `json:"paused"`
	Warnings []string `json:"warnings"`
	Rules    []Rule   `json:"rules"`
}

// Rule is a rule and what the last pass made of it.
type Rule struct {
	Key     string `json:"key"`
	Op      string `json:"op"`
	Want    string `json:"want"`
	Ceiling string `json:"ceiling"` // "" where there is none
	Value   string `json:"value"`
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
}

// Satisfied reports whether the rule needs no action.
func (r Rule) Satisfied() bool {
	return r.Outcome == "InForce" || r.Outcome == "Absent" || r.Op == "Report"
}

// Inotify is the section of inotify and descriptors.
type Inotify struct {
	Limits    Limits     `json:"limits"`
	Accounts  []Account  `json:"owners"`
	Processes []Process  `json:"processes"`
	Findings  []Pressure `json:"findings"`
	Unknown   []Gap      `json:"unknown"`
}

// Limits are those of the node.
type Limits struct {
	Instances Limit `json:"max_user_instances"`
	Watches   Limit `json:"max_user_watches"`
	FileMax   Limit `json:"file_max"`
	OpenFiles int64 `json:"open_files"`
}

// Owner is who the kernel charges.
type Owner struct {
	UserNS uint64 `json:"userns"`
	UID    uint32 `json:"uid"`
}

// Account is what an owner uses.
type Account struct {
	Owner
	Level            int    `json:"level"`
	Instances        int64  `json:"instances"`
	InstancesLimit   Limit  `json:"instances_limit"`
	InstancesQuality string `json:"instances_quality"`
	Watches          int64  `json:"watches"`
	WatchesLimit     Limit  `json:"watches_limit"`
	WatchesQuality   string `json:"watches_quality"`
}

// Process is one that uses inotify or many descriptors.
type Process struct {
	PID        int    `json:"pid"`
	UID        uint32 `json:"uid"`
	UserNS     uint64 `json:"userns"`
	Comm       string `json:"comm"`
	Instances  int64  `json:"instances"`
	Watches    int64  `json:"watches"`
	FDs        int64  `json:"fds"`
	NOFILESoft Limit  `json:"nofile_soft"`
	Quality    string `json:"quality"`
	Workload
}

// Workload names what a process or a log belongs to.
type Workload struct {
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	Unit      string `json:"unit"`
}

// String is NAMESPACE/POD:CONTAINER, the unit, or nothing.
func (w Workload) String() string {
	switch {
	case w.Pod == "":
		return w.Unit
	case w.Container == "":
		return w.Namespace + "/" + w.Pod
	}
	return w.Namespace + "/" + w.Pod + ":" + w.Container
}

// Pressure is a limit that is nearly used up.
type Pressure struct {
	Resource string   `json:"resource"`
	Owner    *Owner   `json:"owner"`
	Level    int      `json:"level"`
	Used     int64    `json:"used"`
	Limit    Limit    `json:"limit"`
	Percent  float64  `json:"percent"`
	Pressure bool     `json:"pressure"`
	Top      *Process `json:"top"`
}

// Gap is something that the agent could not see.
type Gap struct {
	What      string `json:"what"`
	Why       string `json:"why"`
	Processes int    `json:"processes"`
}

// Disk is the section of filesystems and logs.
type Disk struct {
	Filesystems []Filesystem  `json:"filesystems"`
	Producers   []Producer    `json:"producers"`
	Readers     []Reader      `json:"readers"`
	Unfollowed  []Unfollowed  `json:"unfollowed"`
	Findings    []DiskFinding `json:"findings"`
	Pressure    Assessment    `json:"pressure"`
	Reading     Assessment    `json:"reading"`
}

// Filesystem is one that holds logs, images or the kubelet's files.
type Filesystem struct {
	Path            string   `json:"path"`
	Type            string   `json:"type"`
	State           string   `json:"state"`
	Error           string   `json:"error"`
	SizeBytes       uint64   `json:"size_bytes"`
	AvailBytes      uint64   `json:"avail_bytes"`
	Inodes          uint64   `json:"inodes"`
	InodesFree      uint64   `json:"inodes_free"`
	SecondsToFull   *float64 `json:"seconds_to_full"`
	SecondsToEvict  *float64 `json:"seconds_to_eviction"`
	GrowthPerSecond *float64 `json:"growth_bytes_per_second"`
}

// Producer writes logs.
type Producer struct {
	Workload
	Kind           string   `json:"kind"`
	Path           string   `json:"path"`
	Bytes          uint64   `json:"bytes"`
	Files          int      `json:"files"`
	BytesPerSecond *float64 `json:"bytes_per_second"`
}

// Reader reads a log.
type Reader struct {
	PID          int        `json:"pid"`
	Comm         string     `json:"comm"`
	Who          Workload   `json:"who"`
	Log          Workload   `json:"log"`
	Path         string     `json:"path"`
	LagBytes     uint64     `json:"lag_bytes"`
	SizeBytes    uint64     `json:"size_bytes"`
	StalledSince *time.Time `json:"stalled_since"`
}

// Unfollowed is a log without a reader.
type Unfollowed struct {
	Workload
	Path      string `json:"path"`
	SizeBytes uint64 `json:"size_bytes"`
	GrewBytes uint64 `json:"grew_bytes"`
}

// DiskFinding is a setting that fills a disk or loses lines.
type DiskFinding struct {
	Reason   string `json:"reason"`
	Severity string `json:"severity"`
	Path     string `json:"path"`
	Message  string `json:"message"`
	Do       string `json:"do"`
}

// Assessment is how bad it is: clear, between or bad.
type Assessment struct {
	Level   string `json:"level"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// MaxBytes bounds a report: 5,000 processes at 400 bytes are 2 MB. A pod with the
// agents' labels can answer anything.
const MaxBytes = 16 << 20

// Decode reads a Report of MaxBytes at most.
func Decode(r io.Reader) (*Report, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return Parse(b)
}

// Parse reads a Report.
func Parse(b []byte) (*Report, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("it is larger than %d MiB", MaxBytes>>20)
	}
	var d Report
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("it is not a report of nodetune: %w", err)
	}
	if d.Kind != "Report" {
		return nil, fmt.Errorf("it is not a report of nodetune: its kind is %.40q", d.Kind)
	}
	return &d, nil
}
