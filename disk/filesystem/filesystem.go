package filesystem

import "time"

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
	// ShortWindow says that growth was measured for less than disk.growthWindow: one burst
	// may be all of it, and only what is near is predicted from it, see Soon.
	ShortWindow bool `json:"-"`
}

// AvailPercent is the share of the size that is available, as the kubelet
// reckons it, or 100 where the size is unknown.
func (f Filesystem) AvailPercent() float64 { return Percent(f.AvailBytes, f.SizeBytes) }

// InodesFreePercent is the share of inodes that is free, or 100 where the
// filesystem makes them as needed.
func (f Filesystem) InodesFreePercent() float64 { return Percent(f.InodesFree, f.Inodes) }

// Percent returns part as a percentage of whole, or 100 where whole is 0.
func Percent(part, whole uint64) float64 {
	if whole == 0 {
		return 100
	}
	return 100 * float64(part) / float64(whole)
}

// Measured reports whether the figures of f are those of this pass.
func (f Filesystem) Measured() bool { return f.State == StateOK || f.State == StateReadOnly }

// shortHorizon is the part of the horizon for which a short window is enough: a storm fills
// a disk before the window is complete.
const shortHorizon = 4

// Soon reports whether the kubelet evicts, or f is full, within horizon at the speed that
// was measured.
func (f Filesystem) Soon(horizon time.Duration) (evicts, full bool) {
	if f.ShortWindow {
		horizon /= shortHorizon
	}
	return Within(f.SecondsToEviction, horizon), Within(f.SecondsToFull, horizon)
}
