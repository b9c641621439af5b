package archive

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/field"
)

const (
	// RoomStep is how many bytes must fit, at most, before the next are written.
	RoomStep = 8 << 20
	// RoomEvery is after how many written bytes the filesystem is asked again: other
	// programs write there too.
	RoomEvery = 1 << 20
	// roomSpare is what stays available beside what is written, but not more than a
	// twentieth of a small filesystem: there an archive that is not made costs more.
	roomSpare = 64 << 20
)

// CheckRoom returns an error unless n bytes, 5 % of them and a spare of 64 MiB, or of
// 5 % of a filesystem below 1.25 GiB, are available on the filesystem of f: an archive
// that is made to save space must not fill the disk.
func CheckRoom(f *os.File, n uint64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "statfs", Path: f.Name(), Err: err}
	}
	block := uint64(max(st.Bsize, 1))
	return roomFor(st.Bavail*block, st.Blocks*block, n)
}

func roomFor(avail, size, n uint64) error {
	if need := n + n/20 + min(roomSpare, size/20); avail < need {
		return logdir.Skipf("%s is available, and %s is needed to write a copy: free space first", field.Size(avail), field.Size(need))
	}
	return nil
}

// roomyFile writes to a file for as long as there is room for the next step.
type roomyFile struct {
	*os.File
	left int // bytes until the next check
}

func (w *roomyFile) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		if err := CheckRoom(w.File, RoomStep); err != nil {
			return 0, err
		}
		w.left = RoomEvery
	}
	return w.File.Write(b)
}
