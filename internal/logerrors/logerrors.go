// Package logerrors finds the containers whose log ends with the error of an
// inotify limit: collectors that crashed at one, or that go on blind.
//
// It reads the end of the live logs in /var/log/pods, which needs
// CAP_DAC_READ_SEARCH and nothing else: no API server, no BPF. What a container
// prints is its own word: use it to tell that container's owner something, not
// to decide. Docker keeps logs elsewhere, behind links that are not followed.
package logerrors

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/workload"
)

// Ending are those of one container. Errno is EMFILE where it asked for an
// instance, ENOSPC where it asked for a watch.
type Ending struct {
	workload.Workload
	Errno unix.Errno
}

// tailBytes holds an error with the usage text that some programs print below.
const tailBytes = 4096

// Find returns the containers of the host whose root directory is rootfs that
// ended so after since. A host without /var/log/pods has none.
func Find(rootfs string, since time.Time) ([]Ending, error) {
	host, err := os.OpenRoot(rootfs)
	if err != nil {
		return nil, err
	}
	defer func() { _ = host.Close() }()
	pods, err := host.OpenRoot(workload.PodLogs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = pods.Close() }()
	var all []Ending
	dirs, err := fs.Glob(pods.FS(), "*/*")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs { // NAMESPACE_POD_UID/CONTAINER
		log, ok := live(pods, dir)
		if !ok {
			continue
		}
		// Gone, or not to be read: the next one may be.
		if text, err := tail(pods, path.Join(dir, log.name), since); err == nil {
			if errno := Errno(text); errno != 0 {
				all = append(all, Ending{log.Workload, errno})
			}
		}
	}
	return all, nil
}

type named struct {
	workload.Log
	name string
}

// live returns the log that a container writes, or wrote last.
func live(pods *os.Root, dir string) (newest named, ok bool) {
	entries, err := fs.ReadDir(pods.FS(), dir)
	if err != nil {
		return named{}, false
	}
	for _, e := range entries {
		log, is := workload.ParsePodLog(path.Join(dir, e.Name()))
		if is && log.Rotated == "" && (!ok || log.Restart > newest.Restart) {
			newest, ok = named{log, e.Name()}, true
		}
	}
	return newest, ok
}

// tail returns the end of a regular file that was written after since.
func tail(pods *os.Root, name string, since time.Time) ([]byte, error) {
	// O_NONBLOCK: a FIFO does not hold us up.
	f, err := pods.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.ModTime().Before(since) {
		return nil, errors.Join(err, fs.ErrInvalid)
	}
	b := make([]byte, min(tailBytes, st.Size()))
	n, err := f.ReadAt(b, st.Size()-int64(len(b)))
	if errors.Is(err, io.EOF) { // truncated meanwhile
		err = nil
	}
	return b[:n], err
}

// Errno returns the error of an inotify limit that text tells of, or 0. A line
// has to speak of both, as these do; nodetune's own log, which writes
// fs.inotify.max_user_instances and errno=24 (EMFILE), does not:
//
//	Fluent Bit  [.../in_tail/tail_fs_inotify.c:360 errno=24] Too many open files
//	rsyslog     imfile: cannot watch object '...': No space left on device
//	kubectl     failed to create fsnotify watcher: too many open files
//	inotifywait ... you can increase /proc/sys/fs/inotify/max_user_instances
func Errno(text []byte) unix.Errno {
	errno := unix.Errno(0)
	for line := range bytes.Lines(bytes.ToLower(text)) {
		says := func(any ...string) bool {
			for _, s := range any {
				if bytes.Contains(line, []byte(s)) {
					return true
				}
			}
			return false
		}
		switch inotify := says("inotify", "fsnotify", "tail_fs", "imfile", "watch"); {
		case says("inotify/max_user_instances"), inotify && says("errno=24]", "too many open files"):
			errno = unix.EMFILE
		case says("inotify/max_user_watches"), inotify && says("errno=28]", "no space left on device"):
			errno = unix.ENOSPC
		}
	}
	return errno // the last one
}
