package tracefs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/procwalk"
)

const (
	prefix = "nodetune-"
	// bufferKB is for each CPU: some 1,300 refusals between two reads. What
	// fails more often overwrites what failed before.
	bufferKB = "64"
	// readAtMost bounds what one Read takes.
	readAtMost = 4 << 20
)

// events are the exits of the calls; inotify_init is not on arm64.
var events = []string{"sys_exit_inotify_init1", "sys_exit_inotify_init", "sys_exit_inotify_add_watch"}

// Refusals is an instance of tracefs of our own.
type Refusals struct {
	procfs string
	walker *procwalk.Walker
	dir    string
	pipe   int
	buf    []byte
	rest   []byte // of a line that is not whole yet
	lost   int64
}

// Open makes an instance below tracefs, which is usually mounted at
// /sys/kernel/tracing, and removes those of nodetunes that are gone.
func Open(tracefs, procfs string) (*Refusals, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(tracefs, &st); err != nil || st.Type != unix.TRACEFS_MAGIC {
		return nil, fmt.Errorf("no tracefs is mounted at %s: mount -t tracefs tracefs %s", tracefs, tracefs)
	}
	self, err := os.Readlink(filepath.Join(procfs, "self"))
	if err != nil {
		return nil, fmt.Errorf("find nodetune in %s: %w", procfs, err)
	}
	pid, err := strconv.Atoi(self)
	if err != nil {
		return nil, fmt.Errorf("find nodetune in %s: %w", procfs, err)
	}
	walker, err := procwalk.New(procfs)
	if err != nil {
		return nil, err
	}
	r := &Refusals{procfs: procfs, walker: walker, pipe: -1, buf: make([]byte, 64<<10)}
	start, ok := r.started(pid)
	if !ok {
		_ = walker.Close()
		return nil, fmt.Errorf("read the start time of process %d", pid)
	}
	instances := filepath.Join(tracefs, "instances")
	r.sweep(instances)
	r.dir = filepath.Join(instances, fmt.Sprintf("%s%d-%d", prefix, pid, start))
	if err := r.begin(); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// started returns when a process began: a pid is reused.
func (r *Refusals) started(pid int) (uint64, bool) {
	p, err := r.walker.Open(pid)
	if err != nil {
		return 0, false
	}
	defer p.Close()
	stat, err := p.Stat()
	if err != nil {
		return 0, false
	}
	return stat.Start, true
}

// sweep removes the instances of nodetunes that were killed.
func (r *Refusals) sweep(instances string) {
	all, err := os.ReadDir(instances)
	if err != nil {
		return // begin says why
	}
	for _, e := range all {
		var pid int
		var start uint64
		if n, err := fmt.Sscanf(e.Name(), prefix+"%d-%d", &pid, &start); n != 2 || err != nil {
			continue
		}
		if is, alive := r.started(pid); !alive || is != start {
			_ = unix.Rmdir(filepath.Join(instances, e.Name())) // somebody may be reading it
		}
	}
}

func (r *Refusals) begin() error {
	if err := os.Mkdir(r.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make an instance of tracefs: %w", err)
	}
	if err := r.write("buffer_size_kb", bufferKB); err != nil {
		return err
	}
	for _, event := range events {
		dir := filepath.Join("events/syscalls", event)
		err := r.write(filepath.Join(dir, "filter"), "ret < 0")
		if err == nil {
			err = r.write(filepath.Join(dir, "enable"), "1")
		}
		if errors.Is(err, fs.ErrNotExist) && event == "sys_exit_inotify_init" {
			continue
		}
		if err != nil {
			return fmt.Errorf("trace %s, which needs CONFIG_FTRACE_SYSCALLS: %w", event, err)
		}
	}
	var err error
	r.pipe, err = unix.Open(filepath.Join(r.dir, "trace_pipe"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the trace_pipe of %s: %w", r.dir, err)
	}
	return nil
}

func (r *Refusals) write(name, value string) error {
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Close removes the instance, with which the tracing ends.
func (r *Refusals) Close() error {
	if r.pipe >= 0 {
		_ = unix.Close(r.pipe)
		r.pipe = -1
	}
	err := unix.Rmdir(r.dir)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return errors.Join(err, r.walker.Close())
}

// Lost returns how many refusals were overwritten before they could be read.
func (r *Refusals) Lost() int64 { return r.lost }

// Read returns what was refused since the last Read, one for each process and
// way to fail. Of a process that has ended since only the pid is known, and errno
// 24 may have been either limit.
func (r *Refusals) Read() ([]inotify.Refusal, error) {
	counts := map[refusal]int64{}
	for total := 0; total < readAtMost; {
		n, err := unix.Read(r.pipe, r.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return nil, fmt.Errorf("read what inotify has refused: %w", err)
		}
		if n <= 0 {
			break
		}
		total += n
		r.lines(r.buf[:n], counts)
	}
	return r.known(counts), nil
}

// lines counts the whole lines of b.
func (r *Refusals) lines(b []byte, counts map[refusal]int64) {
	b = append(r.rest, b...)
	for {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			break
		}
		if f, ok := parse(line); ok {
			counts[f]++
		} else if n, ok := lost(line); ok {
			r.lost += n
		}
		b = rest
	}
	if len(b) > len(r.buf) { // no line of the kernel's
		b = nil
	}
	r.rest = slices.Clone(b)
}

// known looks at the processes.
func (r *Refusals) known(counts map[refusal]int64) []inotify.Refusal {
	now := time.Now()
	var all []inotify.Refusal
	index := map[inotify.Refusal]int{}
	for of, n := range counts {
		f := inotify.Refusal{Call: inotify.CallInit, Errno: of.errno, PID: of.tid, Limit: inotify.NoLimit, Owner: nil}
		if strings.HasSuffix(of.call, "add_watch") {
			f.Call = inotify.CallAddWatch
		}
		r.look(&f)
		if i, ok := index[f]; ok { // another thread
			all[i].Count += n
			continue
		}
		index[f] = len(all)
		f.Count, f.At = n, now
		all = append(all, f)
	}
	return all
}
