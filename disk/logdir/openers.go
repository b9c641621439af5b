package logdir

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// Reads reports whether o reads the file, and is to be waited for.
func (o Opener) Reads() bool { return !o.Writes && !o.isKubelet() }

// openers returns who has which of the files open, this process left out. hint
// is a part of every path that one of them can have. The lease says in
// microseconds whether there is anybody; this walk says who.
func openers(ctx context.Context, w *procwalk.Walker, hint string, files ...hostfs.Inode) (map[hostfs.Inode][]Opener, error) {
	all := map[hostfs.Inode][]Opener{}
	self := w.Self()
	_, err := w.Walk(ctx, &procwalk.Visitor{
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
			if err != nil || !contains(files, at) {
				return
			}
			info, err := p.FDInfo(fd)
			if err != nil || info.Flags&unix.O_PATH != 0 {
				return
			}
			o := Opener{
				PID: p.PID, FD: fd, OffsetBytes: uint64(info.Pos),
				Writes:  info.Flags&unix.O_ACCMODE != unix.O_RDONLY,
				Appends: info.Flags&unix.O_APPEND != 0,
			}
			if st, err := p.Stat(); err == nil {
				o.Start, o.Comm = st.Start, string(st.Comm())
			}
			if cg, err := p.Cgroup(); err == nil {
				o.Who = workload.FromCgroupPath(string(cg))
			}
			all[at] = append(all[at], o)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("find out who has the log open: %w", err)
	}
	return all, nil
}

func contains(files []hostfs.Inode, f hostfs.Inode) bool {
	for _, x := range files {
		if x == f {
			return true
		}
	}
	return false
}

// isKubelet reports whether somebody looks at a log with kubectl logs -f. He is
// not waited for: who leaves that running over a slow line would keep a log from
// being rotated. The kubelet itself does not wait for him either.
func (o Opener) isKubelet() bool { return o.Comm == "kubelet" && o.Who.PodUID == "" }

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

// Opener is a process that keeps a file open.
type Opener struct {
	PID         int               `json:"pid"`
	Start       uint64            `json:"start"`
	FD          int               `json:"fd"`
	Comm        string            `json:"comm"`
	Who         workload.Workload `json:"who"`
	Writes      bool              `json:"writes"`
	OffsetBytes uint64            `json:"offset_bytes"`
	Appends     bool              `json:"-"` // O_APPEND: it writes at the end, wherever that is
}
