package disk

import (
	"context"
	"errors"

	"github.com/nodetune/nodetune/internal/procwalk"
)

// Host is what acting upon the logs of a host takes: its root directory, its
// processes, and the directories whose files are logs. It is for one goroutine.
type Host struct {
	procfs   string
	rootfs   hostRoot
	walker   *procwalk.Walker
	logPaths []string
}

// OpenHost opens the host whose root directory and procfs are mounted at rootfs
// and procfs, for acting below logPaths only.
func OpenHost(procfs, rootfs string, logPaths []string) (*Host, error) {
	walker, err := procwalk.New(procfs)
	if err != nil {
		return nil, err
	}
	root, err := openRoot(rootfs)
	if err != nil {
		_ = walker.Close()
		return nil, err
	}
	return &Host{procfs: procfs, rootfs: root, walker: walker, logPaths: logPaths}, nil
}

// Close gives the descriptors back.
func (h *Host) Close() error { return errors.Join(h.walker.Close(), h.rootfs.close()) }

// open opens the directory dir of logs for acting in it.
func (h *Host) open(dir string) (*folder, error) { return openFolder(h.rootfs, h.logPaths, dir) }

// openers returns who has which of the files open, see openers.
func (h *Host) openers(ctx context.Context, hint string, files ...inode) (map[inode][]Holder, error) {
	return openers(ctx, h.walker, hint, files...)
}
