package procscan

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/meminfo"
)

// limitFiles are kept open: they are to be readable when the node has no
// descriptors left.
type limitFiles struct {
	instances, watches, queued, fileMax, nrOpen, fileNr *os.File

	memoryBytes int64
	buf         [128]byte
}

// openLimits opens the limits of a procfs. A file that does not exist is left
// out: its limit is unknown.
func openLimits(procfs string) *limitFiles {
	open := func(name string) *os.File {
		f, err := os.Open(filepath.Join(procfs, "sys/fs", name))
		if err != nil {
			return nil
		}
		return f
	}
	return &limitFiles{
		instances:   open("inotify/max_user_instances"),
		watches:     open("inotify/max_user_watches"),
		queued:      open("inotify/max_queued_events"),
		fileMax:     open("file-max"),
		nrOpen:      open("nr_open"),
		fileNr:      open("file-nr"),
		memoryBytes: memoryBytes(procfs),
	}
}

func (f *limitFiles) close() {
	for _, f := range []*os.File{f.instances, f.watches, f.queued, f.fileMax, f.nrOpen, f.fileNr} {
		_ = f.Close() // a nil *os.File says so, and nothing was written
	}
}

func (f *limitFiles) read() inotify.Limits {
	return inotify.Limits{
		Instances:    f.first(f.instances),
		Watches:      f.first(f.watches),
		QueuedEvents: f.first(f.queued),
		FileMax:      f.first(f.fileMax),
		NrOpen:       f.first(f.nrOpen),
		OpenFiles:    int64(max(0, f.first(f.fileNr))), // allocated, free (always 0 since 2.6), maximum
		MemoryBytes:  f.memoryBytes,
	}
}

// first returns the first number of a sysctl. Those above the range of an
// int64 (fs.file-max of systemd is 2^63-1) do not occur in these files.
func (f *limitFiles) first(file *os.File) inotify.Limit {
	if file == nil {
		return inotify.NoLimit
	}
	n, _ := file.ReadAt(f.buf[:], 0)
	word, _, _ := bytes.Cut(bytes.TrimSpace(f.buf[:n]), []byte("\t"))
	v, err := strconv.ParseInt(string(word), 10, 64)
	if err != nil || v < 0 {
		return inotify.NoLimit
	}
	return inotify.Limit(v)
}

// memoryBytes returns the size of memory, 0 where it is not known.
func memoryBytes(procfs string) int64 {
	n, _ := meminfo.Read(procfs, meminfo.Total)
	return n
}
