package logdir

import (
	"context"
	"errors"
	"fmt"
	"time"

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

	// Clock is the time of the walks; nil: that of this machine.
	Clock func() time.Time
	cut   time.Time // when a walk for openers last ended before its end
}

func (h *Host) now() time.Time {
	if h.Clock != nil {
		return h.Clock()
	}
	return time.Now()
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

// Openers returns who has which of the files open, see openers. A walk ends after
// walkWithin, with ErrOpenersUnknown; so does each call within walkAgain of that, at once.
func (h *Host) Openers(ctx context.Context, hint string, files ...hostfs.Inode) (map[hostfs.Inode][]Opener, error) {
	began := h.now()
	if !h.cut.IsZero() && began.Sub(h.cut) < walkAgain && !began.Before(h.cut) {
		return nil, fmt.Errorf("%w: the last walk of /proc took longer than %v, and the next one comes a minute later", ErrOpenersUnknown, walkWithin)
	}
	all, err := openers(ctx, h.Walker, func() bool { return h.now().Sub(began) > walkWithin }, hint, files...)
	if h.cut = (time.Time{}); errors.Is(err, ErrOpenersUnknown) {
		h.cut = h.now()
	}
	return all, err
}
