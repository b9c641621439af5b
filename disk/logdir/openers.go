package logdir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// Reads reports whether o reads the file, and is to be waited for.
func (o Opener) Reads() bool { return !o.Writes && !o.isKubelet() }

// maxOpeners bounds what one walk returns.
const maxOpeners = 20_000

// walkWithin is how long a walk for openers may take, on the clock: who owns many
// descriptors decides how long that is. After one that took longer the next one waits.
const (
	walkWithin = 12 * time.Second
	walkAgain  = time.Minute
)

// ErrOpenersUnknown says that a walk ended before it had seen all processes. Who acts
// upon openers waits then, unless the disk is short.
var ErrOpenersUnknown = errors.New("not all processes that may have the log open are known")

// maxOpenerFDs is how many descriptors of one process and file are read again later. A
// reader has one or two.
const maxOpenerFDs = 64

// openers returns which processes have which of the files open, this one left out:
// one Opener for each process, file and direction. hint is a part of every path that
// one of the files can have. The lease shows in microseconds whether there is any
// process; this walk shows which. Where expired ended it, the error is
// ErrOpenersUnknown.
func openers(ctx context.Context, w *procwalk.Walker, expired func() bool, hint string, files ...hostfs.Inode) (map[hostfs.Inode][]Opener, error) {
	type key struct {
		pid    int
		at     hostfs.Inode
		writes bool
	}
	wanted := make(map[hostfs.Inode]bool, len(files))
	for _, at := range files {
		wanted[at] = true
	}
	all := map[hostfs.Inode][]Opener{}
	seen := map[key]int{}
	self := w.Self()
	stats, err := w.Walk(ctx, &procwalk.Visitor{
		Expired: expired,
		Enter: func(p *procwalk.Process) bool {
			st, err := p.Stat()
			return err == nil && !st.KernelThread && p.PID != self
		},
		FD: func(p *procwalk.Process, fd int, target []byte) {
			if len(target) == 0 || target[0] != '/' || !bytes.Contains(target, []byte(hint)) {
				return
			}
			st, err := p.StatFD(fd)
			at := hostfs.Inode{Dev: st.Dev, Ino: st.Ino}
			if err != nil || !wanted[at] {
				return
			}
			info, err := p.FDInfo(fd)
			if err != nil || info.Flags&unix.O_PATH != 0 {
				return
			}
			o := Opener{
				PID: p.PID, FD: fd, OffsetBytes: uint64(info.Pos), LeastOffsetBytes: uint64(info.Pos), fds: []int{fd},
				Writes:  info.Flags&unix.O_ACCMODE != unix.O_RDONLY,
				Appends: info.Flags&unix.O_APPEND != 0,
			}
			k := key{p.PID, at, o.Writes}
			if i, ok := seen[k]; ok {
				was := &all[at][i]
				was.addOffset(o.OffsetBytes)
				was.Appends = was.Appends && o.Appends
				if len(was.fds) < maxOpenerFDs {
					was.fds = append(was.fds, fd)
				}
				return
			}
			if len(seen) >= maxOpeners {
				return // as many as a node has processes: the first ones decide
			}
			if st, err := p.Stat(); err == nil {
				o.Start, o.Comm = st.Start, string(st.Comm())
			}
			if cg, err := p.Cgroup(); err == nil {
				o.Who = workload.FromCgroupPath(string(cg))
			}
			seen[k] = len(all[at])
			all[at] = append(all[at], o)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("find the processes that have the log open: %w", err)
	}
	if left := stats.Omitted + stats.Cut; left > 0 {
		return nil, fmt.Errorf("%w: a walk of /proc takes longer than %v, and %d processes were left", ErrOpenersUnknown, walkWithin, left)
	}
	return all, nil
}

// isKubelet reports whether o reads for a person at `kubectl logs -f` or `docker logs
// -f`, who is not waited for: a slow line would keep a log from being rotated. The
// kubelet itself does not wait either.
func (o Opener) isKubelet() bool {
	return o.Who.PodUID == "" && (hostconfig.KubeletNames[o.Comm] || o.Comm == "dockerd")
}

// ReadMargin is how many bytes a reader may be from the end and still count as
// following: what is read is not yet delivered, and some readers go back a
// little to see whether the file is still theirs.
const ReadMargin = 1 << 20

// FurthestBehind returns the reader that has furthest to go in a file of size bytes,
// if it is further from the end than margin.
func FurthestBehind(all []Opener, size, margin uint64) (Opener, bool) {
	var worst Opener
	found := false
	for _, o := range all {
		if !o.Reads() || o.OffsetBytes+margin >= size {
			continue
		}
		if !found || o.OffsetBytes < worst.OffsetBytes {
			worst, found = o, true
		}
	}
	return worst, found
}

// Behind is FurthestBehind of the file that st describes. One reader at offset 0 of a
// file whose last read is not older than its last write, by a second at most, reads it
// with pread(2) or mmap(2): it follows, and its offset does not show it.
func Behind(all []Opener, st *unix.Statx_t, margin uint64) (Opener, bool) {
	o, behind := FurthestBehind(all, st.Size, margin)
	if !behind || o.OffsetBytes > 0 || hostfs.Time(st.Atime).Add(time.Second).Before(hostfs.Time(st.Mtime)) || hostfs.Time(st.Atime).Equal(hostfs.Time(hostfs.Born(st))) {
		return o, behind
	}
	readers := 0
	for i := range all {
		if all[i].Reads() {
			readers++
		}
	}
	return o, readers > 1
}

// headBytes is as much as programs read of the head of a log to know it again.
const headBytes = 4 << 10

// addOffset adds the offset of another descriptor of the process on the file.
func (o *Opener) addOffset(offset uint64) {
	o.LeastOffsetBytes = min(o.LeastOffsetBytes, offset)
	switch {
	case o.OffsetBytes <= headBytes:
		o.OffsetBytes = max(o.OffsetBytes, offset)
	case offset > headBytes:
		o.OffsetBytes = min(o.OffsetBytes, offset)
	}
}

// Opener is a process that keeps a file open.
type Opener struct {
	PID    int               `json:"pid"`
	Start  uint64            `json:"start"`
	FD     int               `json:"fd"`
	Comm   string            `json:"comm"`
	Who    workload.Workload `json:"who"`
	Writes bool              `json:"writes"`
	// OffsetBytes is where the process reads. It may have the file open more than
	// once: rsyslog keeps a descriptor at byte 512, with which it knew the file again.
	// Descriptors within the head of the file count only where all are there.
	OffsetBytes uint64 `json:"offset_bytes"`
	// LeastOffsetBytes is the least of its offsets: no descriptor reads below it.
	LeastOffsetBytes uint64 `json:"-"`
	Appends          bool   `json:"-"` // O_APPEND: it writes at the end, wherever that is

	fds []int // all of its descriptors of the file
}

// Advance reads again how far the readers of the file at have come. What cannot be read
// keeps its offset: a reader moves forward.
func (h *Host) Advance(all []Opener, at hostfs.Inode) {
	for i := range all {
		if o := &all[i]; o.Reads() {
			if offset, ok := h.offset(o, at); ok {
				o.OffsetBytes = max(o.OffsetBytes, offset)
			}
		}
	}
}

// offset returns where o reads the file at now.
func (h *Host) offset(o *Opener, at hostfs.Inode) (uint64, bool) {
	p, err := h.Walker.Open(o.PID)
	if err != nil {
		return 0, false
	}
	defer p.Close()
	if st, err := p.Stat(); err != nil || st.Start != o.Start {
		return 0, false
	}
	var now Opener
	for i, fd := range o.fds {
		st, err := p.StatFD(fd)
		if err != nil || (hostfs.Inode{Dev: st.Dev, Ino: st.Ino}) != at {
			return 0, false
		}
		info, err := p.FDInfo(fd)
		if err != nil {
			return 0, false
		}
		if i == 0 {
			now.OffsetBytes = uint64(info.Pos)
		} else {
			now.addOffset(uint64(info.Pos))
		}
	}
	return now.OffsetBytes, len(o.fds) > 0
}
