// Package containerlog rotates containers' logs that outgrow the kubelet's limit
// faster than the kubelet looks at them.
//
// A log is renamed and its runtime asked through the CRI to open it again. The
// archives carry names that the kubelet counts, sorts and compresses with its
// own. It takes the capabilities of package rotate, and the CRI socket.
//
// It never truncates, punches or collapses a container's log, because kubectl logs
// reads a hole into memory. What a reader has not read stays.
package containerlog
