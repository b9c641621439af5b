package reclaim

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// punchDeleted gives back what everybody has read of a deleted file, and returns
// how much that was. Its size and what is unread stay as they are.
func (r *Reclaimer) punchDeleted(c Candidate) (uint64, error) {
	// A file of a filesystem that is mounted where only the holder sees it is
	// reached through the holder too.
	at := filepath.Join(r.host.Procfs, strconv.Itoa(c.holder.PID), "fd", strconv.Itoa(c.holder.FD))
	ro, err := unix.Open(at, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: c.Path, Err: err}
	}
	defer func() { _ = unix.Close(ro) }()
	var st unix.Stat_t
	if err := unix.Fstat(ro, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: c.Path, Err: err}
	}
	if (hostfs.Inode{Dev: st.Dev, Ino: st.Ino}) != c.inode || st.Nlink != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return 0, fmt.Errorf("%s: the process that had it open has closed it: %w", c.Path, logdir.ErrInUse)
	}
	idle, err := logdir.Probe(ro)
	if err != nil {
		return 0, fmt.Errorf("probe %s: %w", c.Path, err)
	}
	if idle == logdir.UsedByWriter {
		return 0, fmt.Errorf("%s is written again: %w", c.Path, logdir.ErrInUse)
	}
	rw, err := unix.Open(at, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: c.Path, Err: err}
	}
	defer func() { _ = unix.Close(rw) }()
	if err := unix.Fstat(rw, &st); err != nil || (hostfs.Inode{Dev: st.Dev, Ino: st.Ino}) != c.inode {
		return 0, fmt.Errorf("%s: the process that had it open has closed it: %w", c.Path, logdir.ErrInUse)
	}
	return r.punch(rw, c.Path, c.below)
}

// punch makes a hole of the first below bytes of the file at path, which is open
// as fd, and returns what that has freed.
func (r *Reclaimer) punch(fd int, path string, below uint64) (uint64, error) {
	var before, after unix.Stat_t
	if err := unix.Fstat(fd, &before); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if err := checkNotMapped(r.host.Procfs, hostfs.Inode{Dev: before.Dev, Ino: before.Ino}); err != nil {
		return 0, logdir.Skipf("%s: %v", path, err)
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(below)); err != nil {
		return 0, &os.PathError{Op: "punch", Path: path, Err: err}
	}
	if err := unix.Fstat(fd, &after); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if after.Blocks >= before.Blocks {
		return 0, fmt.Errorf("%s: nothing was left to free: %w", path, logdir.ErrInUse)
	}
	return uint64(before.Blocks-after.Blocks) * 512, nil
}

// checkNotMapped returns an error where a process has the file mapped,
// proc_pid_maps(5): what it has read no offset says. A process that cannot be
// looked into may have it mapped, or open.
func checkNotMapped(procfs string, file hostfs.Inode) error {
	want := fmt.Sprintf(" %02x:%02x %d ", unix.Major(file.Dev), unix.Minor(file.Dev), file.Ino)
	maps, err := filepath.Glob(filepath.Join(procfs, "[0-9]*", "maps"))
	if err != nil {
		return err
	}
	for _, m := range maps {
		pid := filepath.Base(filepath.Dir(m))
		f, err := os.Open(m)
		if os.IsNotExist(err) {
			continue // it ended
		}
		if err != nil {
			return fmt.Errorf("process %s cannot be looked into, and may read it too (CAP_SYS_PTRACE): %w", pid, err)
		}
		found := false
		lines := bufio.NewReader(f)
		for {
			line, err := lines.ReadString('\n')
			found = found || strings.Contains(line, want)
			if err != nil {
				break
			}
		}
		_ = f.Close()
		if found {
			return fmt.Errorf("process %s has it mapped, and no offset says what it has read", pid)
		}
	}
	return nil
}
