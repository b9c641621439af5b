package disk

import (
	"time"

	"github.com/nodetune/nodetune/internal/workload"
)

// Usage is what one pass has seen.
type Usage struct {
	Filesystems []Filesystem `json:"filesystems"`
	Producers   []Producer   `json:"producers"`
	Readers     []Reader     `json:"readers"`
	Unfollowed  []Unfollowed `json:"unfollowed"`
	Deleted     []Deleted    `json:"deleted"`
	Orphans     []Orphan     `json:"orphans"`
	Corrupt     []Corrupt    `json:"corrupt"`
	Findings    []Finding    `json:"findings"`
	Pressure    Alarm        `json:"pressure"` // of the filesystems that hold logs
	Reading     Alarm        `json:"reading"`  // of whoever reads the logs
	Collected   bool         `json:"-"`        // somebody has followed a container's log since the start
	Kubelet     *Kubelet     `json:"kubelet,omitempty"`
	Scan        Scan         `json:"scan"`
}

// Role says why a filesystem is watched.
type Role string

// The roles of a filesystem. One filesystem may have several.
const (
	RoleLogs       Role = "logs"       // holds a log directory
	RoleKubelet    Role = "kubelet"    // the kubelet's root: nodefs.available
	RoleRuntime    Role = "runtime"    // images and containers: imagefs.available
	RoleJournal    Role = "journal"    // journald's files
	RoleConfigured Role = "configured" // named in the configuration
)

// State says whether a filesystem can be used and measured.
type State string

// The states of a filesystem. Only OK and ReadOnly carry figures.
const (
	StateOK       State = "ok"
	StateReadOnly State = "read_only" // for everybody, as after an error
	StateShutDown State = "shut_down" // the kernel has given it up; every write fails
	StateHung     State = "hung"      // statfs(2) has not answered within the deadline
	StateFailed   State = "failed"    // statfs(2) returned an error
)

// Filesystem is one filesystem with the figures of statfs(2). What is not
// known, because there is only one sample or because the kubelet does not watch
// it, is nil and absent from JSON.
type Filesystem struct {
	Path          string   `json:"path"` // its mount point, seen from the host
	Paths         []string `json:"paths,omitempty"`
	Source        string   `json:"source"`
	Type          string   `json:"type"`
	Device        string   `json:"device"` // major:minor, as in /proc/self/mountinfo
	Roles         []Role   `json:"roles"`
	State         State    `json:"state"`
	Error         string   `json:"error,omitempty"`
	SizeBytes     uint64   `json:"size_bytes"`
	AvailBytes    uint64   `json:"avail_bytes"` // f_bavail: what anyone but root may still use
	ReservedBytes uint64   `json:"reserved_bytes"`
	Inodes        uint64   `json:"inodes"` // 0 where the filesystem makes them as needed (btrfs)
	InodesFree    uint64   `json:"inodes_free"`

	// GrowthBytesPerSecond is the median speed at which AvailBytes shrinks,
	// over the window of the policy. It is negative while space comes back.
	GrowthBytesPerSecond *float64 `json:"growth_bytes_per_second,omitempty"`
	SecondsToFull        *float64 `json:"seconds_to_full,omitempty"`

	// The kubelet evicts below EvictionAvailBytes, EvictionSignal says which of
	// its signals that is.
	EvictionSignal     string   `json:"eviction_signal,omitempty"`
	EvictionAvailBytes *uint64  `json:"eviction_avail_bytes,omitempty"`
	EvictionInodesFree *uint64  `json:"eviction_inodes_free,omitempty"`
	SecondsToEviction  *float64 `json:"seconds_to_eviction,omitempty"`
}

// AvailPercent is the share of the size that is available, as the kubelet
// reckons it, or 100 where the size is unknown.
func (f Filesystem) AvailPercent() float64 { return percent(f.AvailBytes, f.SizeBytes) }

// InodesFreePercent is the share of inodes that is free, or 100 where the
// filesystem makes them as needed.
func (f Filesystem) InodesFreePercent() float64 { return percent(f.InodesFree, f.Inodes) }

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}

// Measured reports whether the figures of f are those of this pass.
func (f Filesystem) Measured() bool { return f.State == StateOK || f.State == StateReadOnly }

// Kind says what writes a producer's files.
type Kind string

// The kinds of producers.
const (
	KindContainer Kind = "container" // below /var/log/pods
	KindJournal   Kind = "journal"   // files of journald
	KindUnit      Kind = "unit"      // a unit's share of the journal
	KindCore      Kind = "core"      // core dumps
	KindFile      Kind = "file"      // a log file with its archives
)

// Producer is who fills the disk. Bytes are allocated blocks, archives
// included, as the kubelet and du(1) count them.
type Producer struct {
	Kind Kind `json:"kind"`
	workload.Workload
	Path     string `json:"path"` // of a container the directory, of a file the live log
	Bytes    uint64 `json:"bytes"`
	Files    int    `json:"files"`
	Archives int    `json:"archives"` // how many of Files are rotated or compressed

	// BytesPerSecond is what was written per second between the last two
	// passes, through rotations and restarts. WrittenBytes only grows: it
	// counts from the first pass of this process.
	BytesPerSecond *float64 `json:"bytes_per_second,omitempty"`
	WrittenBytes   uint64   `json:"written_bytes"`

	// Estimated marks a figure that is a share and not a sum: a unit's part of
	// the journal is its part of the entries.
	Estimated bool `json:"estimated,omitempty"`

	newest time.Time // mtime of its live files
}

// Reader is one process reading one log file.
type Reader struct {
	PID    int               `json:"pid"`
	Start  uint64            `json:"start"` // in clock ticks after boot, proc_pid_stat(5)
	Comm   string            `json:"comm"`
	Who    workload.Workload `json:"who"`
	Path   string            `json:"path"`
	Log    workload.Workload `json:"log"`
	Device uint64            `json:"-"` // st_dev
	Inode  uint64            `json:"inode"`

	Watched bool `json:"watched"` // it has an inotify watch on the file
	Open    bool `json:"open"`    // it has the file open for reading
	Deleted bool `json:"deleted,omitempty"`

	// OffsetBytes is the pos of fdinfo: bytes read into its memory, which is
	// not yet delivered. A reader with a watch only has no offset.
	OffsetBytes *uint64 `json:"offset_bytes,omitempty"`
	SizeBytes   uint64  `json:"size_bytes"`
	LagBytes    uint64  `json:"lag_bytes"`

	// StalledSince is when it was last seen to move, of a reader that has
	// unread bytes and a file that grew since. The kubelet has none: it reads
	// for kubectl logs -f, and waits while somebody looks.
	StalledSince *time.Time `json:"stalled_since,omitempty"`
	// PredictedLossBytes is what it would not have read yet after its
	// rotate-wait, at its present speed, if its file were rotated now.
	PredictedLossBytes uint64 `json:"predicted_loss_bytes"`

	looks bool // the kubelet: somebody looks
}

// Unfollowed is a container's live log that nobody has open or watches.
type Unfollowed struct {
	workload.Workload
	Path      string     `json:"path"`
	Inode     uint64     `json:"inode"`
	SizeBytes uint64     `json:"size_bytes"`
	GrewBytes uint64     `json:"grew_bytes"` // while it was unfollowed, as far as it was seen
	Since     *time.Time `json:"since,omitempty"`
}

// Deleted is a file without a name that still holds space.
type Deleted struct {
	Path    string   `json:"path"` // its last one
	Device  uint64   `json:"-"`
	Inode   uint64   `json:"inode"`
	Bytes   uint64   `json:"bytes"` // allocated
	Size    uint64   `json:"size_bytes"`
	Holders []Holder `json:"holders"`
}

// Holder is a process that keeps a file open.
type Holder struct {
	PID         int               `json:"pid"`
	Start       uint64            `json:"start"`
	FD          int               `json:"fd"`
	Comm        string            `json:"comm"`
	Who         workload.Workload `json:"who"`
	Writes      bool              `json:"writes"`
	OffsetBytes uint64            `json:"offset_bytes"`
}

// Orphan is a directory of /var/log/pods of a pod that this node does not seem
// to have any more. It is a candidate: the kubelet and the runtime decide.
type Orphan struct {
	workload.Workload
	Path     string    `json:"path"`
	Bytes    uint64    `json:"bytes"`
	Modified time.Time `json:"modified"`
}

// Corrupt is a compressed archive that cannot be read to its end.
type Corrupt struct {
	Path  string            `json:"path"`
	Log   workload.Workload `json:"log"`
	Bytes uint64            `json:"bytes"`
	Error string            `json:"error"`
}

// Finding is something about this host that will fill a disk or lose lines.
type Finding struct {
	Reason   string `json:"reason"` // one of the Reason constants
	Severity string `json:"severity"`
	Path     string `json:"path,omitempty"` // the file or filesystem it is about
	Message  string `json:"message"`        // what was seen and why it matters
	Do       string `json:"do"`             // what to do next
}

// Severities of a finding.
const (
	SeverityInfo    = "info"    // nothing is wrong today
	SeverityWarning = "warning" // it will go wrong under load
)

// Scan says what the pass cost and what it could not see.
type Scan struct {
	Full        bool           `json:"full"` // every directory was listed again
	Directories int            `json:"directories"`
	Files       int            `json:"files"`
	Listed      int            `json:"listed"` // directories listed in this pass
	Seconds     float64        `json:"seconds"`
	Skipped     map[string]int `json:"skipped,omitempty"` // by reason
	Omitted     map[string]int `json:"omitted,omitempty"` // rows beyond maxRows, by list
	Processes   int            `json:"processes"`
	Unreadable  int            `json:"unreadable_processes"`
	Errors      []string       `json:"errors,omitempty"` // what could not be read at all
}
