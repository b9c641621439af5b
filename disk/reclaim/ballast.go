package reclaim

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
)

// The ballast is space to give up when the disk is nearly full, so that there
// is something to work with: 64 MiB is more than any one archive takes.
const (
	ballastName  = ".nodetune-ballast"
	ballastBytes = 64 << 20
)

// Ballast makes the file that is given up first, in the log directory top, where
// it is not there and there is plenty of room.
func (r *Reclaimer) Ballast(top string) error {
	if !slices.Contains(r.policy.LogPaths, top) {
		return nil // the directory of pods is the kubelet's, one of audit logs auditd's
	}
	f, err := filesystem.Stat(r.host.Rootfs, top)
	if err != nil {
		return err
	}
	if f.AvailBytes < filesystem.PercentOf(f.SizeBytes, r.policy.RecoverAvailPercent)+2*ballastBytes {
		return nil
	}
	d, err := r.host.Open(top)
	if err != nil {
		return err
	}
	defer d.Close()
	file, err := d.Create(ballastName)
	if errors.Is(err, unix.EEXIST) {
		var st unix.Statx_t
		file, st, err = d.OpenFile(ballastName, unix.O_RDWR)
		if err == nil && st.Size >= ballastBytes {
			return file.Close()
		}
		// The agent that made it was killed in between.
	}
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(file.Fd()), 0, 0, ballastBytes)
	if err = errors.Join(err, file.Close()); err != nil {
		_ = d.Remove(ballastName)
		return d.PathError("fallocate", ballastName, err)
	}
	return nil
}
