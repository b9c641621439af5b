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
	// bufferKB is the size of the buffer of each CPU, about 1,300 failures between two
	// reads. Newer failures overwrite older ones.
	bufferKB = "64"
	// maxRead bounds the bytes of one Read.
	maxRead = 4 << 20
)

// events are the exits of the system calls. arm64 has no inotify_init.
var events = []string{"sys_exit_inotify_init1", "sys_exit_inotify_init", "sys_exit_inotify_add_watch"}

// FailureTracer is a tracing instance that records failed inotify calls.
type FailureTracer struct {
	procfs string
	walker *procwalk.Walker
	dir    string
	pipe   int
	buf    []byte
	rest   []byte // an incomplete line
	lost   int64
}

// Open creates an instance below tracefs, which is usually mounted at
// /sys/kernel/tracing. It removes the instances of nodetune processes that are gone.
func Open(tracefs, procfs string) (*FailureTracer, error) {
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
	t := &FailureTracer{procfs: procfs, walker: walker, pipe: -1, buf: make([]byte, 64<<10)}
	start, ok := t.startTime(pid)
	if !ok {
		_ = walker.Close()
		return nil, fmt.Errorf("read the start time of process %d in %s", pid, procfs)
	}
	instances := filepath.Join(tracefs, "instances")
	t.removeStale(instances)
	t.dir = filepath.Join(instances, fmt.Sprintf("%s%d-%d", prefix, pid, start))
	if err := t.start(); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

// startTime returns when a process started, since pids are reused.
func (t *FailureTracer) startTime(pid int) (uint64, bool) {
	p, err := t.walker.Open(pid)
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

// removeStale removes the instances of nodetune processes that were killed.
func (t *FailureTracer) removeStale(instances string) {
	all, err := os.ReadDir(instances)
	if err != nil {
		return // start reports the reason
	}
	for _, e := range all {
		var pid int
		var start uint64
		if n, err := fmt.Sscanf(e.Name(), prefix+"%d-%d", &pid, &start); n != 2 || err != nil {
			continue
		}
		if is, alive := t.startTime(pid); !alive || is != start {
			_ = unix.Rmdir(filepath.Join(instances, e.Name())) // it fails if another process reads it
		}
	}
}

func (t *FailureTracer) start() error {
	if err := os.Mkdir(t.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create a tracing instance: %w", err)
	}
	if err := t.write("buffer_size_kb", bufferKB); err != nil {
		return err
	}
	for _, event := range events {
		dir := filepath.Join("events/syscalls", event)
		err := t.write(filepath.Join(dir, "filter"), "ret < 0")
		if err == nil {
			err = t.write(filepath.Join(dir, "enable"), "1")
		}
		if errors.Is(err, fs.ErrNotExist) && event == "sys_exit_inotify_init" {
			continue
		}
		if err != nil {
			return fmt.Errorf("trace %s, which needs CONFIG_FTRACE_SYSCALLS: %w", event, err)
		}
	}
	var err error
	t.pipe, err = unix.Open(filepath.Join(t.dir, "trace_pipe"), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the trace_pipe of %s: %w", t.dir, err)
	}
	return nil
}

func (t *FailureTracer) write(name, value string) error {
	f, err := os.OpenFile(filepath.Join(t.dir, name), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// Close removes the instance, which ends the tracing.
func (t *FailureTracer) Close() error {
	if t.pipe >= 0 {
		_ = unix.Close(t.pipe)
		t.pipe = -1
	}
	err := unix.Rmdir(t.dir)
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return errors.Join(err, t.walker.Close())
}

// Lost returns how many failures were overwritten before they were read.
func (t *FailureTracer) Lost() int64 { return t.lost }

// Read returns the failures since the last Read, one record for each process and
// reason. If the process has ended, only its pid is known, and either limit may have
// caused errno 24.
func (t *FailureTracer) Read() ([]inotify.SyscallFailure, error) {
	counts := map[failure]int64{}
	for total := 0; total < maxRead; {
		n, err := unix.Read(t.pipe, t.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return nil, fmt.Errorf("read the failed inotify calls: %w", err)
		}
		if n <= 0 {
			break
		}
		total += n
		t.lines(t.buf[:n], counts)
	}
	return t.describe(counts), nil
}

// lines counts the complete lines of b.
func (t *FailureTracer) lines(b []byte, counts map[failure]int64) {
	b = append(t.rest, b...)
	for {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			break
		}
		if f, ok := parse(line); ok {
			counts[f]++
		} else if n, ok := lost(line); ok {
			t.lost += n
		}
		b = rest
	}
	if len(b) > len(t.buf) { // not a line that the kernel prints
		b = nil
	}
	t.rest = slices.Clone(b)
}

// describe adds the details of the processes.
func (t *FailureTracer) describe(counts map[failure]int64) []inotify.SyscallFailure {
	now := time.Now()
	var all []inotify.SyscallFailure
	index := map[inotify.SyscallFailure]int{}
	for of, n := range counts {
		f := inotify.SyscallFailure{Call: inotify.CallInit, Errno: of.errno, PID: of.tid, Limit: inotify.NoLimit, Owner: nil}
		if strings.HasSuffix(of.call, "add_watch") {
			f.Call = inotify.CallAddWatch
		}
		t.inspect(&f)
		if i, ok := index[f]; ok { // another thread of the process
			all[i].Count += n
			continue
		}
		index[f] = len(all)
		f.Count, f.At = n, now
		all = append(all, f)
	}
	return all
}
