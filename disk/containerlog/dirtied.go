package containerlog

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// dirtied reads how much was written to the page cache of all filesystems since the
// boot: nr_dirtied of /proc/vmstat, proc_vmstat(5). A log cannot have grown by more.
//
// The kernel adds what each processor counts once it is 125 pages, or after a second,
// so the figure lags by half a megabyte for each processor at most.
type dirtied struct {
	vmstat *os.File
	buf    []byte
}

// writtenThroughCache are filesystems whose data is written through the page cache,
// statfs(2). tmpfs does not count it, and ZFS has a cache of its own.
var writtenThroughCache = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
}

func openDirtied(procfs string) *dirtied {
	f, err := os.Open(filepath.Join(procfs, "vmstat"))
	if err != nil {
		return &dirtied{} // each look asks every log
	}
	return &dirtied{f, make([]byte, 16<<10)}
}

// bytes returns the figure, and false where it shows nothing about files below dir.
func (d *dirtied) bytes(dir int) (uint64, bool) {
	var fs unix.Statfs_t
	if d.vmstat == nil || unix.Fstatfs(dir, &fs) != nil || !writtenThroughCache[fs.Type] {
		return 0, false
	}
	n, err := unix.Pread(int(d.vmstat.Fd()), d.buf, 0)
	if err != nil {
		return 0, false
	}
	pages, ok := parseDirtied(d.buf[:n])
	return pages * uint64(os.Getpagesize()), ok
}

func parseDirtied(vmstat []byte) (pages uint64, ok bool) {
	_, rest, ok := bytes.Cut(vmstat, []byte("\nnr_dirtied "))
	if !ok {
		return 0, false
	}
	digits, _, ok := bytes.Cut(rest, []byte{'\n'})
	if !ok {
		return 0, false
	}
	pages, err := strconv.ParseUint(string(digits), 10, 48)
	if err != nil {
		return 0, false
	}
	return pages, true
}

func (d *dirtied) close() error {
	if d.vmstat == nil {
		return nil
	}
	return d.vmstat.Close()
}
