package sysctl

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Tree is <procfs>/sys. It holds each key it has opened open until Close:
// when fs.file-max is exhausted, nothing more can be opened (ENFILE), and the
// key that corrects this must still be writable. It is not safe for concurrent use.
type Tree struct {
	name string // <procfs>/sys, for messages
	dir  int
	real bool // <procfs> is procfs, and no copy made of plain files
	keys map[Key]openKey
}

type openKey struct {
	fd       int
	writable bool
}

// OpenTree opens <procfs>/sys.
func OpenTree(procfs string) (*Tree, error) {
	name := filepath.Join(procfs, "sys")
	dir, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the kernel's settings: %w", &fs.PathError{Op: "open", Path: name, Err: err})
	}
	var st unix.Statfs_t
	real := unix.Statfs(procfs, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
	return &Tree{name: name, dir: dir, real: real, keys: make(map[Key]openKey)}, nil
}

// Close closes every descriptor of t.
func (t *Tree) Close() {
	for k := range t.keys {
		t.forget(k)
	}
	_ = unix.Close(t.dir)
}

func (t *Tree) forget(k Key) {
	_ = unix.Close(t.keys[k].fd)
	delete(t.keys, k)
}

// Hold opens the keys of rules that may be written, and keeps them open. A
// key that cannot be opened now is tried again when it is used.
func (t *Tree) Hold(rules []Rule) {
	for _, r := range rules {
		if r.Op != Report {
			_, _ = t.open(r.Key, true)
		}
	}
}

// Read returns the value of k. The error wraps fs.ErrNotExist where the kernel
// has no such key.
func (t *Tree) Read(k Key) Reading {
	v, err := t.read(k)
	if err != nil {
		return Reading{Key: k, Value: Unknown, Err: err}
	}
	return Reading{Key: k, Value: v}
}

// ReadAll reads the key of each rule.
func (t *Tree) ReadAll(rules []Rule) []Reading {
	got := make([]Reading, 0, len(rules))
	for _, r := range rules {
		got = append(got, t.Read(r.Key))
	}
	return got
}

func (t *Tree) read(k Key) (Value, error) {
	fd, err := t.open(k, false)
	if err != nil {
		return Unknown, readProblem(k, t.name, err)
	}
	// One number of at most 20 digits and a newline; what is longer is not one.
	var buf [64]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		// A key whose module was unloaded leaves the descriptor behind.
		t.forget(k)
		return Unknown, readProblem(k, t.name, err)
	}
	// Where the root is a copy made of plain files, the rest of a longer old value
	// can stand after the line.
	line, _, _ := bytes.Cut(buf[:n], []byte{'\n'})
	v, err := parseNumber(string(bytes.TrimSpace(line)))
	if err != nil {
		return Unknown, fmt.Errorf("read %s: %w", k, err)
	}
	return v, nil
}

// Write puts v into k: one pwrite at offset 0, since the kernel answers a write
// at any other offset with success and changes nothing (sysctl_writes_strict).
func (t *Tree) Write(k Key, v Value) error {
	fd, err := t.open(k, true)
	if err != nil {
		return writeProblem(k, v, t.name, err)
	}
	text := strconv.AppendInt(nil, int64(v), 10)
	n, err := unix.Pwrite(fd, append(text, '\n'), 0)
	if err == nil && n <= len(text)-1 {
		err = unix.EIO
	}
	if err != nil {
		return writeProblem(k, v, t.name, err)
	}
	return nil
}

// open returns a descriptor of k, the held one where it serves.
func (t *Tree) open(k Key, write bool) (int, error) {
	held, ok := t.keys[k]
	if ok && (held.writable || !write) {
		return held.fd, nil
	}
	mode := unix.O_RDONLY
	if write {
		mode = unix.O_RDWR
	}
	fd, err := t.openat(k, mode)
	if err != nil {
		return -1, err // and what is held for reading stays
	}
	if ok {
		t.forget(k)
	}
	t.keys[k] = openKey{fd: fd, writable: write}
	return fd, nil
}

// openat walks to k one component at a time and follows no link, since the root
// may be any directory. openat2(2) would do so in one call, but needs 5.6 and a
// seccomp profile that knows it. There is no O_CREAT: a missing key is missing.
func (t *Tree) openat(k Key, mode int) (int, error) {
	dir := t.dir
	parts := strings.Split(k.Path(), "/")
	last := len(parts) - 1
	for i, part := range parts {
		flags := unix.O_PATH | unix.O_DIRECTORY
		if i == last {
			flags = mode | unix.O_NONBLOCK // a pipe must not hold us up
		}
		fd, err := openRetry(dir, part, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC)
		switch {
		case err == nil && t.real && !onProcfs(fd), errors.Is(err, unix.ENOENT) && t.real && !onProcfs(dir):
			// A file of the same name there is not the kernel's either.
			if err == nil {
				_ = unix.Close(fd)
			}
			err = &notMounted{dir: strings.Join(parts[:i+1], "/"), hidden: true}
		case errors.Is(err, unix.ENOENT) && !onProcfs(dir) && t.mounted():
			err = &notMounted{dir: strings.Join(parts[:i+1], "/")}
		}
		if dir != t.dir {
			_ = unix.Close(dir)
		}
		if err != nil {
			return -1, err
		}
		dir = fd
	}
	var st unix.Stat_t
	if err := unix.Fstat(dir, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		_ = unix.Close(dir)
		return -1, errors.Join(err, errNotAFile)
	}
	return dir, nil
}

// A notMounted directory of /proc/sys is one that a container was not given:
// a missing key there does not show that the kernel lacks it.
type notMounted struct {
	dir    string
	hidden bool // another filesystem is mounted over it
}

func (n *notMounted) Error() string {
	if n.hidden {
		return "the host's /proc/sys/" + n.dir + " is hidden by another filesystem"
	}
	return "the host's /proc/sys/" + n.dir + " is not mounted"
}

// mounted reports whether a part of the kernel's /proc/sys was mounted below t,
// which itself is not procfs: a container that may see no more is given single
// directories and files, such as fs/inotify, fs/epoll and fs/file-max.
func (t *Tree) mounted() bool {
	found, seen := false, 0
	_ = filepath.WalkDir(t.name, func(name string, _ fs.DirEntry, err error) error {
		var st unix.Statfs_t
		found = err == nil && unix.Statfs(name, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
		if seen++; found || seen == maxMountPoints {
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// maxMountPoints bounds the search for mounts. A container runtime makes one file
// or directory for each component of a mount's path.
const maxMountPoints = 1000

func onProcfs(dir int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(dir, &st) == nil && st.Type == unix.PROC_SUPER_MAGIC
}

var errNotAFile = errors.New("is not a regular file")

func openRetry(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
