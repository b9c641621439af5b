package disk

import (
	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
)

// Usage is what one pass has seen.
type Usage struct {
	Filesystems []filesystem.Filesystem `json:"filesystems"`
	Producers   []logs.Producer         `json:"producers"`
	Readers     []logs.Reader           `json:"readers"`
	Unfollowed  []logs.Unfollowed       `json:"unfollowed"`
	Deleted     []logs.Deleted          `json:"deleted"`
	Orphans     []reclaim.Orphan        `json:"orphans"`
	Corrupt     []logs.Corrupt          `json:"corrupt"`
	Findings    []Finding               `json:"findings"`
	Pressure    Assessment              `json:"pressure"` // of the filesystems that hold logs
	Reading     Assessment              `json:"reading"`  // of the processes that read the logs
	Collected   bool                    `json:"-"`        // a process has followed a container's log since the start
	Kubelet     *hostconfig.Kubelet     `json:"kubelet,omitempty"`
	Scan        Scan                    `json:"scan"`
}

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
	// Later is how many processes a walk that takes more than one pass has not come to.
	// Readers are those of the last complete walk meanwhile.
	Later int `json:"later_processes,omitempty"`
	// ReadersOld: that walk is so old, or missing, that nothing is known of readers.
	ReadersOld bool     `json:"readers_old,omitempty"`
	Errors     []string `json:"errors,omitempty"` // what could not be read at all
	ReadersSource
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

// ReclaimInput returns what reclaiming takes from u.
func (u Usage) ReclaimInput() reclaim.Input {
	in := reclaim.Input{Producers: u.Producers, Readers: u.Readers, Orphans: u.Orphans, Deleted: u.Deleted}
	if u.Kubelet != nil {
		in.Kubelet = *u.Kubelet
	} else {
		in.Kubelet = hostconfig.DefaultKubelet()
		in.Kubelet.LogMaxSizeBytes = 0 // no kubelet limits a log
	}
	return in
}
