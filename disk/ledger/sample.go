package ledger

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// look brings the files of d up to date.
func (l *Ledger) look(d *dir) {
	fd, err := l.rootfs.OpenDir(d.path, unix.O_RDONLY)
	if errors.Is(err, unix.ENOENT) {
		d.gone = true
	}
	if err != nil {
		l.keep(d)
		return
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Statx_t
	if err := hostfs.Statx(fd, hostfs.Self, &st); err != nil {
		l.keep(d)
		return
	}
	if d.fresh || st.Mtime != d.mtime {
		// What changes while the names are read is seen by the next sample: this one was
		// asked for the time before.
		names, err := l.logNames(fd)
		if err != nil {
			l.keep(d)
			return
		}
		d.fresh = st.Mtime != d.mtime // and once more, as a change of the same tick has the same time
		d.names, d.mtime = names, st.Mtime
	}
	for _, name := range d.names {
		if err := hostfs.Statx(fd, []byte(name+"\x00"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			d.fresh = true
			continue
		}
		id := idOf(&st)
		f := l.files[id]
		if f == nil {
			if len(l.files) >= maxFiles {
				continue
			}
			f = &file{dir: d, early: hostfs.Time(hostfs.Born(&st)).Before(l.began)}
			l.files[id] = f
		}
		f.dir, f.name, f.named = d, name, true
		l.resize(f, st.Size)
	}
}

// keep leaves the files of d as they are where d cannot be read now.
func (l *Ledger) keep(d *dir) {
	if d.gone {
		return
	}
	d.fresh = true
	for _, f := range l.files {
		if f.dir == d {
			f.named = true
		}
	}
}

// resize notes the size of a file. Where it became smaller, what was not read of it is
// lost.
func (l *Ledger) resize(f *file, size uint64) {
	if size < f.size {
		l.lose(f, f.size-min(f.size, f.read), CauseTruncation)
		f.read, f.speed = 0, 0
	}
	f.size = size
}

// logNames returns the names of plain logs in a container's directory: N.log and
// N.log.TIME.
func (l *Ledger) logNames(fd int) ([]string, error) {
	var names []string
	for {
		n, err := unix.Getdents(fd, l.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			return names, nil
		}
		hostfs.Dirents(l.buf[:n], func(b []byte, _ byte) {
			name := string(b[:len(b)-1])
			if strings.Contains(name, ".log") && name[0] != '.' && !strings.HasSuffix(name, ".gz") && !strings.HasSuffix(name, ".tmp") && len(names) < maxFiles {
				names = append(names, name)
			}
		})
	}
}

// positions takes the offsets of one collector, and reports whether it still runs.
func (l *Ledger) positions(c collector, now time.Time) bool {
	p, err := l.walker.Open(c.pid)
	if err != nil {
		return !procwalk.Gone(err)
	}
	defer p.Close()
	if st, err := p.Stat(); err != nil || st.Start != c.start {
		return false
	}
	fd, err := unix.Openat(l.procfs, strconv.Itoa(c.pid)+"/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return !procwalk.Gone(err)
	}
	defer func() { _ = unix.Close(fd) }()
	var fds []int
	for len(fds) < maxFDs {
		n, err := unix.Getdents(fd, l.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		hostfs.Dirents(l.buf[:n], func(b []byte, _ byte) {
			if n, err := strconv.Atoi(string(b[:len(b)-1])); err == nil {
				fds = append(fds, n)
			}
		})
	}
	var st unix.Statx_t
	for _, n := range fds {
		const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
		if unix.Statx(fd, strconv.Itoa(n), unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, mask, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		f := l.files[idOf(&st)]
		if f == nil {
			continue
		}
		info, err := p.FDInfo(n)
		if err != nil || info.Flags&unix.O_PATH != 0 || info.Flags&unix.O_ACCMODE != unix.O_RDONLY {
			continue
		}
		l.resize(f, st.Size)
		l.advance(f, min(uint64(max(info.Pos, 0)), st.Size), now)
	}
	return true
}

// advance notes that a collector has come to pos.
func (l *Ledger) advance(f *file, pos uint64, now time.Time) {
	seconds := now.Sub(f.last).Seconds()
	first := !f.known
	f.known = f.known || pos > 0 || f.size == 0
	if !f.held {
		f.speed = 0
	}
	f.held = true
	switch {
	case first && f.early:
		f.read = max(f.read, pos) // read before
	case pos > f.read:
		if !f.last.IsZero() && seconds > 0 {
			f.speed = float64(pos-f.read) / seconds
		}
		l.advanceTo(f, pos)
	default:
		f.speed = 0
	}
	f.last = now
}

func (l *Ledger) advanceTo(f *file, pos uint64) {
	if pos > f.read {
		l.entries.Read[f.dir.owner] += pos - f.read
		f.read = pos
	}
}
