package page

import (
	"encoding/json"
	"time"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
)

// Kind marks the document of /status.json. Its version is
// [reporter.APIVersion].
const Kind = "NodeStatus"

// Status is what the page shows, and what /status.json has.
type Status struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Nodetune   string    `json:"nodetune"`       // its version
	Node       string    `json:"node,omitempty"` // the Node's name, or the host's
	At         time.Time `json:"at"`             // of this document
	State      State     `json:"state"`
	// Summary is the first sentence: healthy, or what is wrong.
	Summary string `json:"summary"`
	// Troubles are what is wrong, the most urgent first.
	Troubles List[Trouble] `json:"troubles"`
	// Notices need nothing now: what goes wrong under load, and what is not known.
	Notices List[Notice] `json:"notices"`
	// Passes are when the passes ended that this document is from.
	Passes []Pass `json:"passes"`

	Limits     List[Limit]        `json:"limits"`
	Pods       *reporter.PodRoom  `json:"pods,omitempty"`
	PodsText   string             `json:"pods_text,omitempty"`
	Consumers  List[Consumer]     `json:"consumers"`
	Failures   List[Failure]      `json:"failures"`
	Settings   List[Setting]      `json:"settings"`
	Writers    List[Writer]       `json:"writers"`
	Filesystem List[Filesystem]   `json:"filesystems"`
	Producers  List[Producer]     `json:"producers"`
	Collectors List[Collector]    `json:"collectors"`
	Unread     List[UnreadLog]    `json:"logs_without_reader"`
	Acts       List[reporter.Act] `json:"acts"` // the latest first
	// RefusedClients is what the agent refused, if anything.
	RefusedClients *reporter.RefusedClients `json:"refused_clients,omitempty"`
	// Acting says what nodetune may do on this node.
	Acting Acting `json:"acting"`
}

// List is rows, of which More were left out.
type List[T any] struct {
	Rows []T `json:"rows"`
	More int `json:"more,omitempty"`
}

// State sums a Status up.
type State string

// The states, from good to bad.
const (
	Healthy  State = "healthy"
	Starting State = "starting" // no pass has ended yet
	Unknown  State = "unknown"  // nothing is wrong as far as was seen, and not all was seen
	Warning  State = "warning"  // nothing is lost yet
	Critical State = "critical" // lines or calls are lost now, or soon
)

// rank orders states by urgency.
var rank = map[State]int{Healthy: 0, Starting: 1, Unknown: 2, Warning: 3, Critical: 4}

// Trouble is one thing that is wrong.
type Trouble struct {
	// Kind is one of the Kind constants.
	Kind    string `json:"kind"`
	State   State  `json:"state"`
	Summary string `json:"summary"`
	// Since is when the condition became True, or when it was first seen.
	Since *time.Time `json:"since,omitempty"`
	// Cause names who causes it, where that is known.
	Cause string `json:"cause,omitempty"`
	// Did is the last act of nodetune about it. DidNot is why there is none.
	Did    *reporter.Act `json:"did,omitempty"`
	DidNot string        `json:"did_not,omitempty"`
	// Next is the line to paste, and Then what it does or what comes after it.
	Next string `json:"next"`
	Then string `json:"then,omitempty"`
}

// The kinds of troubles.
const (
	KindFailingCalls     = "failing_calls"
	KindLimitPressure    = "limit_pressure"
	KindOpenFiles        = "open_files"
	KindOwnLimit         = "own_limit" // of a process, or of a user namespace
	KindLimitNotHeld     = "limit_not_held"
	KindPaused           = "paused"
	KindDisk             = "disk"
	KindLogStorm         = "log_storm" // a producer far above the others
	KindCollectorStalled = "collector_stalled"
	KindPassFailed       = "pass_failed"
	KindPassStale        = "pass_stale"
	KindNotSeen          = "not_seen"
)

// Notice is for information.
type Notice struct {
	Text string `json:"text"`
	Do   string `json:"do,omitempty"`
}

// Pass is the last pass of a subsystem.
type Pass struct {
	Name  string     `json:"name"`
	At    *time.Time `json:"at,omitempty"` // absent: none has ended
	Error string     `json:"error,omitempty"`
}

// Acting is what nodetune may do.
type Acting struct {
	// Sysctls is write, dry-run, paused, or read for one look of a command.
	Sysctls string `json:"sysctls"`
	// DiskMode is disk.mode of the configuration.
	DiskMode string `json:"disk_mode,omitempty"`
	// Guard is the mode of the sysctl guard, where it is known.
	Guard string `json:"guard,omitempty"`
	// Tracing is how inotify calls that fail are traced.
	Tracing inotify.RefusalSource `json:"tracing,omitzero"`
}

// Limit is one limit with what is in use of it.
type Limit struct {
	Name     string           `json:"name"` // for people
	Resource inotify.Resource `json:"resource"`
	Key      string           `json:"key"` // the setting, or RLIMIT_NOFILE
	Owner    *inotify.Owner   `json:"owner,omitempty"`
	PID      int              `json:"pid,omitempty"`
	Used     int64            `json:"used"`
	Limit    inotify.Limit    `json:"limit"`
	Percent  float64          `json:"percent"`
	Quality  inotify.Quality  `json:"quality"`
	State    State            `json:"state"`
	// PerHour is the trend, and SecondsToFull when the limit is met if it goes on.
	PerHour       *float64 `json:"per_hour,omitempty"`
	SecondsToFull *float64 `json:"seconds_to_full,omitempty"`
	// Ceiling is up to where the agent raises the limit; null where there is none.
	Ceiling inotify.Limit `json:"ceiling"`
	// Top holds the most of it.
	Top string `json:"top,omitempty"`
}

// Consumer is what the processes of one pod or unit hold together.
type Consumer struct {
	Name      string `json:"name"`
	Processes int    `json:"processes"`
	Instances int64  `json:"instances"`
	Watches   int64  `json:"watches"`
	FDs       int64  `json:"fds"`
	// Percent is the largest share of a limit that it holds.
	Percent float64 `json:"percent"`
	// PID is its process with the most instances.
	PID int `json:"pid"`
}

// Failure is calls of one process that a limit made fail.
type Failure struct {
	At      time.Time `json:"at"` // the last one
	Process string    `json:"process"`
	Call    string    `json:"call"`
	Errno   string    `json:"errno"`
	Reason  string    `json:"reason"`
	Count   int64     `json:"count"`
}

// Setting is one rule.
type Setting struct {
	Key     sysctl.Key     `json:"key"`
	Op      sysctl.Op      `json:"op"`
	Value   sysctl.Value   `json:"value,omitzero"`
	Want    sysctl.Value   `json:"want,omitzero"`
	Ceiling sysctl.Value   `json:"ceiling,omitzero"`
	Outcome sysctl.Outcome `json:"outcome"`
	Reason  string         `json:"reason,omitempty"`
}

// UnmarshalJSON leaves unknown what a document leaves out.
func (s *Setting) UnmarshalJSON(b []byte) error {
	type plain Setting
	p := plain{Value: sysctl.Unknown, Want: sysctl.Unknown, Ceiling: sysctl.Unknown}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*s = Setting(p)
	return nil
}

// Writer is a program that wrote a managed key, as the sysctl guard saw it.
type Writer struct {
	At         time.Time    `json:"at"` // the last write
	Key        sysctl.Key   `json:"key"`
	From       sysctl.Value `json:"from,omitzero"`
	To         sysctl.Value `json:"to,omitzero"`
	By         string       `json:"by"`
	Count      uint64       `json:"count"`
	BelowFloor bool         `json:"below_floor,omitempty"`
	Held       bool         `json:"held,omitempty"`
}

// UnmarshalJSON leaves unknown what a document leaves out.
func (w *Writer) UnmarshalJSON(b []byte) error {
	type plain Writer
	p := plain{From: sysctl.Unknown, To: sysctl.Unknown}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*w = Writer(p)
	return nil
}

// Filesystem is a filesystem with logs, images or the kubelet's files.
type Filesystem struct {
	Path              string   `json:"path"`
	Type              string   `json:"type"`
	Holds             []string `json:"holds"`
	FileState         string   `json:"file_state"` // ok, read_only, hung ...
	Error             string   `json:"error,omitempty"`
	State             State    `json:"state"`
	SizeBytes         uint64   `json:"size_bytes"`
	AvailBytes        uint64   `json:"avail_bytes"`
	UsedPercent       float64  `json:"used_percent"`
	InodesFreePercent *float64 `json:"inodes_free_percent,omitempty"`
	BytesPerSecond    *float64 `json:"bytes_per_second,omitempty"` // growth
	SecondsToFull     *float64 `json:"seconds_to_full,omitempty"`
	EvictionBytes     *uint64  `json:"eviction_avail_bytes,omitempty"`
	SecondsToEviction *float64 `json:"seconds_to_eviction,omitempty"`
}

// Producer writes logs.
type Producer struct {
	Name           string   `json:"name"`
	Kind           string   `json:"kind"`
	Bytes          uint64   `json:"bytes"`
	Estimated      bool     `json:"estimated,omitempty"`
	Files          int      `json:"files"`
	BytesPerSecond *float64 `json:"bytes_per_second,omitempty"`
}

// Collector is a process that reads logs.
type Collector struct {
	Name string `json:"name"`
	PID  int    `json:"pid"`
	Logs int    `json:"logs"` // that it has open or watches
	// Containers is how many of them are live logs of containers, of
	// ContainersSeen: its coverage. Both are absent where rows were left out.
	Containers         *int       `json:"containers,omitempty"`
	ContainersSeen     *int       `json:"containers_seen,omitempty"`
	LagBytes           uint64     `json:"lag_bytes"`
	LagKnown           bool       `json:"lag_known"` // of a watch alone the offset is not known
	PredictedLossBytes uint64     `json:"predicted_loss_bytes"`
	Stalled            int        `json:"stalled,omitempty"` // logs
	StalledSince       *time.Time `json:"stalled_since,omitempty"`
}

// UnreadLog is a container's live log that no collector follows.
type UnreadLog struct {
	Name      string     `json:"name"`
	SizeBytes uint64     `json:"size_bytes"`
	GrewBytes uint64     `json:"grew_bytes"`
	Since     *time.Time `json:"since,omitempty"`
}
