package disk

import (
	"errors"

	"golang.org/x/sys/unix"
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
	f, err := space(r.host.rootfs, top)
	if err != nil {
		return err
	}
	if f.AvailBytes < points(f.SizeBytes, r.policy.RecoverAvailPercent)+2*ballastBytes {
		return nil
	}
	d, err := r.host.open(top)
	if err != nil {
		return err
	}
	defer d.close()
	file, err := d.create(ballastName)
	if errors.Is(err, unix.EEXIST) {
		var st unix.Statx_t
		file, st, err = d.file(ballastName, unix.O_RDWR)
		if err == nil && st.Size >= ballastBytes {
			return file.Close()
		}
		// Whoever made it was killed in between.
	}
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(file.Fd()), 0, 0, ballastBytes)
	if err = errors.Join(err, file.Close()); err != nil {
		_ = d.remove(ballastName)
		return d.wrap("fallocate", ballastName, err)
	}
	return nil
}
