package logs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// DeletedFiles returns the files on the watched filesystems that have no name any
// more and still hold space, with everybody who keeps them.
func (s *ProcSnapshot) DeletedFiles(watched []filesystem.Filesystem) []Deleted {
	devs := map[uint64]bool{}
	for _, f := range watched {
		var major, minor uint32
		if n, err := fmt.Sscanf(f.Device, "%d:%d", &major, &minor); n == 2 && err == nil {
			devs[unix.Mkdev(major, minor)] = true
		}
	}
	byFile := map[hostfs.Inode]*Deleted{}
	for i := range s.openings {
		o := &s.openings[i]
		if o.links != 0 || o.blocks == 0 || !devs[o.file.Dev] {
			continue
		}
		d := byFile[o.file]
		if d == nil {
			d = &Deleted{
				Path: o.path, Device: o.file.Dev, Inode: o.file.Ino, Bytes: o.blocks, Size: o.size,
				Incomplete: s.Omitted[OmittedOpenings] > 0,
			}
			byFile[o.file] = d
		}
		d.Holders = append(d.Holders, logdir.Opener{
			PID: o.pid, Start: o.start, FD: o.fd, Comm: o.comm, Who: o.who,
			Writes: o.access != unix.O_RDONLY, OffsetBytes: o.least,
		})
	}
	var all []Deleted
	for _, d := range byFile {
		all = append(all, *d)
	}
	return all
}
