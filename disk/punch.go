package disk

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// deleted returns what of a deleted file can be given back: what lies below
// every reader's offset, less a margin. Only of a log, and only where all that
// hold it read; whoever writes has an offset, too, but not one that says what
// was read.
func (r *Reclaimer) deleted(d Deleted) (Candidate, bool) {
	log := false
	for _, top := range r.policy.LogPaths {
		_, ok := within(d.Path, top)
		log = log || ok
	}
	if !log || len(d.Holders) == 0 {
		return Candidate{}, false
	}
	below := d.Size
	for _, h := range d.Holders {
		if h.Writes {
			return Candidate{}, false
		}
		below = min(below, h.OffsetBytes)
	}
	const page = 64 << 10 // a multiple of every block size
	below = (below - min(below, readMargin)) / page * page
	return Candidate{
		Class: ClassDeleted, Path: d.Path, Bytes: d.Bytes, inode: inode{d.Device, d.Inode},
		holder: &d.Holders[0], below: min(below, d.Bytes),
	}, below > 0
}

// punch gives back what everybody has read of a deleted file. Its size and what
// is unread stay as they are.
func (r *Reclaimer) punch(c Candidate) error {
	// A file of a filesystem that is mounted where only the holder sees it is
	// reached through the holder too.
	at := filepath.Join(r.procfs, strconv.Itoa(c.holder.PID), "fd", strconv.Itoa(c.holder.FD))
	ro, err := unix.Open(at, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: c.Path, Err: err}
	}
	defer func() { _ = unix.Close(ro) }()
	var st unix.Stat_t
	if err := unix.Fstat(ro, &st); err != nil {
		return &os.PathError{Op: "stat", Path: c.Path, Err: err}
	}
	if (inode{st.Dev, st.Ino}) != c.inode || st.Nlink != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s: its holder has another file there now: %w", c.Path, errBusy)
	}
	idle, err := Probe(ro)
	if err != nil {
		return fmt.Errorf("probe %s: %w", c.Path, err)
	}
	if idle == Written {
		return fmt.Errorf("%s is written again: %w", c.Path, errBusy)
	}
	if err := unmapped(r.procfs, c.inode); err != nil {
		return refusef("%s: %v", c.Path, err)
	}
	rw, err := unix.Open(at, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: c.Path, Err: err}
	}
	defer func() { _ = unix.Close(rw) }()
	if err := unix.Fstat(rw, &st); err != nil || (inode{st.Dev, st.Ino}) != c.inode {
		return fmt.Errorf("%s: its holder has another file there now: %w", c.Path, errBusy)
	}
	if err := unix.Fallocate(rw, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(c.below)); err != nil {
		return &os.PathError{Op: "punch", Path: c.Path, Err: err}
	}
	return nil
}

// unmapped returns an error where a process has the file mapped,
// proc_pid_maps(5): what it has read no offset says. A process that cannot be
// looked into may have it mapped, or open.
func unmapped(procfs string, file inode) error {
	want := fmt.Sprintf(" %02x:%02x %d ", unix.Major(file.dev), unix.Minor(file.dev), file.ino)
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
