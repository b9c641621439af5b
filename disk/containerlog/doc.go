// Package containerlog rotates containers' logs that outgrow the kubelet's limit
// faster than the kubelet looks at them.
//
// A log is renamed and its runtime asked through the CRI to open it again. The
// archives carry names that the kubelet counts, sorts and compresses with its
// own. It takes the capabilities of package rotate, and the CRI socket.
//
// It never truncates, punches or collapses a container's log, because kubectl logs
// reads a hole into memory. What a reader has not read stays. While the disk is short
// that is bounded by what the kubelet would let the log and its archives take; the
// oldest archive beyond it is removed, and counted as unread.
//
// A log of which no reader is seen may have one that opens and closes it. It is rotated
// no faster than the kubelet would, unless the disk is short.
package containerlog
