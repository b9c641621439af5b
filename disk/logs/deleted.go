package logs

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// DeletedFiles returns the files on the watched filesystems that have no name any
// more and still hold space, with every process that keeps them. The mount of
// each decides on which filesystem it lies, also in the mount namespace of a
// container. logDirs are where the log directories lie.
func (s *ProcSnapshot) DeletedFiles(watched []filesystem.Filesystem, logDirs []filesystem.Location) []Deleted {
	at := map[string]string{} // mount points by device
	for _, f := range watched {
		at[f.Device] = f.Path
	}
	mounts := filesystem.NewLocator(s.Procfs)
	byFile := map[hostfs.Inode]*Deleted{}
	for i := range s.openings {
		o := &s.openings[i]
		if o.links != 0 || o.blocks == 0 {
			continue
		}
		d := byFile[o.file]
		if d == nil {
			place, device, ok := mounts.File(o.pid, o.fd, o.path)
			if at[device] == "" {
				device = place.Device // the overlay itself is watched
			}
			point := at[device]
			if !ok || point == "" {
				continue
			}
			log := slices.ContainsFunc(logDirs, place.Below)
			d = &Deleted{
				Path: o.path, Filesystem: point, InLogDir: log, FSDevice: device,
				Device: o.file.Dev, Inode: o.file.Ino, Bytes: o.blocks, Size: o.size,
				Incomplete: s.Omitted[OmittedOpenings] > 0,
			}
			byFile[o.file] = d
		}
		d.Holders = append(d.Holders, logdir.Opener{
			PID: o.pid, Start: o.start, FD: o.fd, Comm: o.comm, Who: o.who,
			Writes: o.access != unix.O_RDONLY, OffsetBytes: o.pos, LeastOffsetBytes: o.least,
		})
	}
	all := make([]Deleted, 0, len(byFile))
	for _, d := range byFile {
		all = append(all, *d)
	}
	return all
}
