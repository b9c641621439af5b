package procwalk

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// round is one walk.
type round struct {
	ctx     context.Context // of the walk, which this is the whole of
	w       *Walker
	stats   *Stats
	visitor *Visitor
	p       Process
	work    int // descriptors and threads of the process that were met
}

// process visits the tables of one process.
func (r *round) process(pid int) {
	r.w.name = appendPID(r.w.name[:0], pid)
	dir, err := openat(r.w.root, r.w.name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		r.count(err)
		return
	}
	defer closefd(dir)
	r.stats.Processes++
	r.work = 0
	r.p = Process{w: r.w, PID: pid, TID: pid, dir: dir, table: dir}
	if err = r.table(); err == nil && r.threads() > 1 {
		err = r.threadTables()
	}
	r.count(err)
}

// count counts what could not be read; what is gone, is gone.
func (r *round) count(err error) {
	switch {
	case err == nil, r.ctx.Err() != nil:
	case Gone(err):
		r.stats.Gone++
	case errors.Is(err, ErrCut):
		r.stats.Cut++
	case refused(err):
		r.stats.failed(r.denied(), 1)
	default:
		r.stats.failed(err.Error(), 1)
	}
}

// cut counts a descriptor or a thread, and returns why the rest of the process is left
// out. A table may hold a million descriptors, which take seconds.
func (r *round) cut() error {
	if r.work++; r.work%1024 != 0 {
		return nil
	}
	if r.work >= r.w.most && r.visitor.Expired != nil && r.visitor.Expired() {
		return ErrCut
	}
	return r.ctx.Err()
}

// refused reports whether a capability was missing.
func refused(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// denied names the capability that was missing. Listing PID/fd needs the
// owner's uid or CAP_DAC_READ_SEARCH; where that works, it is reading the
// links that was refused.
func (r *round) denied() string {
	if fd, err := openat(r.p.table, []byte("fd\x00"), unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
		closefd(fd)
		return "reading what descriptors refer to was refused: it needs CAP_SYS_PTRACE, and that no security module objects"
	}
	return "listing the descriptors of another user's process was refused: it needs CAP_DAC_READ_SEARCH"
}

// table visits one descriptor table.
func (r *round) table() error {
	p, v := &r.p, r.visitor
	r.stats.Tables++
	if v.Enter != nil && !v.Enter(p) {
		return nil
	}
	fds, err := r.descriptors()
	if refused(err) || errors.Is(err, ErrCut) {
		// Their number is no secret.
		all, _ := p.FDCount()
		fds = max(fds, all)
	}
	if v.Leave != nil {
		v.Leave(p, fds, err)
	}
	return err
}

// descriptors shows every descriptor. What is refused for one descriptor of a
// table is refused for all.
func (r *round) descriptors() (n int, err error) {
	dir, err := openat(r.p.table, []byte("fd\x00"), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return 0, err
	}
	defer closefd(dir)
	var failed error
	err = numbered(dir, r.w.dents, func(fd int, name []byte) bool {
		length, err := readlinkat(dir, name, r.w.link)
		if errors.Is(err, unix.ENOENT) {
			return true // closed meanwhile
		}
		if err != nil {
			failed = err
			return false
		}
		n++
		if failed = r.cut(); failed != nil {
			return false
		}
		if r.visitor.FD != nil {
			r.visitor.FD(&r.p, fd, r.w.link[:length])
		}
		return true
	})
	r.stats.FDs += n
	if err == nil {
		err = failed
	}
	return n, err
}
