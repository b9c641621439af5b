package disk

import (
	"errors"
	"fmt"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
)

// Sources of who reads which log.
const (
	ReadersFromKernel = "ebpf_walk"
	ReadersFromProcfs = "procfs"
)

// ReadersSource is where the readers of a pass are from.
type ReadersSource struct {
	// ReadersFrom is ebpf_walk, the kernel's descriptor tables, or procfs.
	ReadersFrom string `json:"readers_source,omitempty"`
	// ReadersReason is why it is not the kernel's descriptor tables.
	ReadersReason string `json:"readers_source_reason,omitempty"`
}

// errNoSource is an observer without a source, as that of a single pass.
var errNoSource = errors.New("a single pass reads procfs")

// openFilesFromKernel fills an empty snapshot from the kernel's descriptor tables. The
// error is why it is still empty.
func (o *Observer) openFilesFromKernel(seen *logs.ProcSnapshot, mounts []filesystem.Mount) (processes int, err error) {
	if o.OpenFiles == nil {
		return 0, errNoSource
	}
	filter, err := logs.OpenFilesFilter(o.trees, mounts)
	if err != nil {
		return 0, err
	}
	scan, err := o.OpenFiles.OpenFiles(filter)
	if err != nil {
		return 0, fmt.Errorf("find who has logs open: %w", err)
	}
	seen.Add(scan, o.walker)
	return scan.AllProcesses, nil
}
