package logs

import (
	"path"
	"time"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/workload"
)

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

	Newest time.Time `json:"-"` // mtime of its live files
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

	// StalledSince is when its unread bytes were first seen, of a collector that
	// has not moved since while its file grew. The kubelet has none: it reads for
	// kubectl logs -f, and waits while a person looks.
	StalledSince *time.Time `json:"stalled_since,omitempty"`
	// Interactive says that a person runs it: it has a terminal, is in a login
	// session or is a viewer such as less. It is no collector, and never stalled.
	Interactive bool `json:"interactive,omitempty"`
	// PredictedLossBytes is what it would not have read yet after its
	// rotate-wait, at its present speed, if its file were rotated now.
	PredictedLossBytes uint64 `json:"predicted_loss_bytes"`

	viaKubelet bool // the kubelet or Docker, for a person who looks
}

// Collects reports whether r can be a log collector.
func (r *Reader) Collects() bool { return !r.viaKubelet && !r.Interactive }

// Unfollowed is a container's live log that no collector has open or watches.
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
	Path string `json:"path"` // its last one
	// Filesystem is the mount point of the filesystem that it takes space on.
	Filesystem string `json:"filesystem,omitempty"`
	// InLogDir: it lies below a log directory of the host. A container's volume
	// may have the same path.
	InLogDir bool            `json:"-"`
	FSDevice string          `json:"-"` // of Filesystem, as mountinfo names it
	Device   uint64          `json:"-"`
	Inode    uint64          `json:"inode"`
	Bytes    uint64          `json:"bytes"` // allocated
	Size     uint64          `json:"size_bytes"`
	Holders  []logdir.Opener `json:"holders"`
	// Incomplete: further processes may hold it, beyond what a walk remembers.
	Incomplete bool `json:"incomplete,omitempty"`
}

// Corrupt is a compressed archive that cannot be read to its end.
type Corrupt struct {
	Path  string            `json:"path"`
	Log   workload.Workload `json:"log"`
	Bytes uint64            `json:"bytes"`
	Error string            `json:"error"`
}

// ReadersPolicy says what is expected of the programs that read the logs.
type ReadersPolicy struct {
	// StalledAfter is how long a reader with unread bytes may stay at one offset while
	// its file grows.
	StalledAfter field.Duration `json:"stalledAfter"`
	// UnfollowedAfter is how long a growing container log may have no reader.
	UnfollowedAfter field.Duration `json:"unfollowedAfter"`
	// Uncollected are pods that the collectors leave out, NAMESPACE/POD with the
	// wildcards of path.Match: no reader has to follow their logs.
	Uncollected []string `json:"excludePods"`
	// RotateWait is how long the readers go on with a rotated file.
	RotateWait field.Duration `json:"rotateWait"`
}

// Excludes reports whether the collectors are not meant to read a pod's logs.
func (p ReadersPolicy) Excludes(namespace, pod string) bool {
	for _, pattern := range p.Uncollected {
		if ok, err := path.Match(pattern, namespace+"/"+pod); ok && err == nil {
			return true
		}
	}
	return false
}

// Advice says what helps a reader that is stalled. What it was refused it does
// not get by a higher limit: most programs never ask again.
func (r Reader) Advice() string {
	if !r.Watched {
		return "it has no inotify watch there, and does not wake when more are allowed: restart it"
	}
	return "restart it"
}
