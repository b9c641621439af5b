// Package filesystem measures the filesystems that carry logs: their capacity, how
// fast they fill, and how far they are from the kubelet's eviction thresholds.
//
// It reads /proc/PID/mountinfo and calls statfs(2), without a capability. A mount
// that does not answer costs one deadline, and no second call is sent while the
// first has not come back. The mount ID of a path takes Linux 5.8; before that
// the longest mount point above the path counts.
//
// It decides when space must be reclaimed and until when, and frees none itself.
package filesystem
