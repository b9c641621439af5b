package logdir

import (
	"context"
	"errors"

	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// Host is what acting upon the logs of a host takes: its root directory, its
// processes, and the directories whose files are logs. It is for one goroutine.
type Host struct {
	Procfs   string
	Rootfs   hostfs.Root
	Walker   *procwalk.Walker
	LogPaths []string
}

// OpenHost opens the host whose root directory and procfs are mounted at rootfs
// and procfs, for acting below logPaths only.
func OpenHost(procfs, rootfs string, logPaths []string) (*Host, error) {
	walker, err := procwalk.New(procfs)
	if err != nil {
		return nil, err
	}
	root, err := hostfs.Open(rootfs)
	if err != nil {
		_ = walker.Close()
		return nil, err
	}
	return &Host{Procfs: procfs, Rootfs: root, Walker: walker, LogPaths: logPaths}, nil
}

// Close gives the descriptors back.
func (h *Host) Close() error { return errors.Join(h.Walker.Close(), h.Rootfs.Close()) }

// Open opens the directory dir of logs for acting in it.
func (h *Host) Open(dir string) (*Dir, error) { return OpenDir(h.Rootfs, h.LogPaths, dir) }

// Openers returns who has which of the files open, see openers.
func (h *Host) Openers(ctx context.Context, hint string, files ...hostfs.Inode) (map[hostfs.Inode][]Opener, error) {
	return openers(ctx, h.Walker, hint, files...)
}
