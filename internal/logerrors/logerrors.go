// Package logerrors finds the containers whose log ends with the error of an
// inotify limit: collectors that crashed at one, or that continue without
// seeing new files.
//
// It reads the end of the live logs in /var/log/pods, which needs
// CAP_DAC_READ_SEARCH and nothing else: no API server, no BPF. A container can
// print anything. So the text of a log is used for that container only, whose
// directory the kubelet names; a name in the text is never read. Use it to
// inform the owner of that container, not to decide. Docker keeps logs
// elsewhere, behind links that are not followed.
package logerrors

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/workload"
)

// Ending is the last error of one container. Errno is EMFILE where it requested
// an instance, ENOSPC where it requested a watch.
type Ending struct {
	workload.Workload
	Errno unix.Errno
}

const (
	// tailBytes holds an error with the usage text that some programs print below.
	tailBytes = 4096
	// maxEntries bounds the names that one search lists: a node of 250 pods has
	// some 2,000. A pod with /var/log as a hostPath can make more.
	maxEntries = 100_000
	// batch is how many names are in memory at once.
	batch = 512
)

// ErrTooMany means that /var/log/pods has more names than a search lists.
var ErrTooMany = errors.New("/var/log/pods has more than 100,000 names: not every log was searched")

// Find returns the containers of the host whose root directory is rootfs that
// ended so after since. A container that was restarted after the time raised, when the
// limit was raised, no longer meets it: its log before that counts. more are forms
// beside the table. A host without /var/log/pods has none. With ErrTooMany the result is
// incomplete.
func Find(ctx context.Context, rootfs string, since, raised time.Time, more ...Form) ([]Ending, error) {
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
	s := search{ctx: ctx, pods: pods, left: maxEntries}
	var all []Ending
	err = s.each(".", func(pod string) { // NAMESPACE_POD_UID
		if _, ok := workload.ParsePodDir(pod); !ok {
			return
		}
		_ = s.each(pod, func(container string) { // unreadable: the next one may be readable
			dir := path.Join(pod, container)
			for _, log := range s.newest(dir) {
				text, born, err := tail(pods, path.Join(dir, log.name), since)
				if err != nil {
					return
				}
				if errno := Errno(text, more...); errno != 0 {
					all = append(all, Ending{log.log.Workload, errno})
					return
				}
				if !born.After(raised) {
					return
				}
			}
		})
	})
	if err == nil && s.left <= 0 {
		err = ErrTooMany
	}
	return all, errors.Join(err, ctx.Err())
}

// search is one walk of /var/log/pods.
type search struct {
	ctx  context.Context // of the walk, which this is the whole of
	pods *os.Root
	left int // names that may still be listed
}

// each visits the names in a directory, while the budget lasts.
func (s *search) each(dir string, visit func(name string)) error {
	f, err := s.pods.OpenFile(dir, os.O_RDONLY|unix.O_NONBLOCK|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for s.left > 0 && s.ctx.Err() == nil {
		names, err := f.Readdirnames(min(batch, s.left))
		s.left -= len(names)
		for _, name := range names {
			visit(name)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type named struct {
	log  workload.Log
	name string
}

// newest returns the log that a container writes, or wrote last, and the one before it.
func (s *search) newest(dir string) []named {
	var all []named
	_ = s.each(dir, func(name string) { // an unreadable directory has none
		log, is := workload.ParsePodLog(path.Join(dir, name))
		if !is || log.Rotated != "" {
			return
		}
		all = append(all, named{log, name})
		slices.SortFunc(all, func(a, b named) int { return cmp.Compare(b.log.Restart, a.log.Restart) })
		all = all[:min(len(all), 2)]
	})
	return all
}

// tail returns the end of a regular file that was written after since, and when the file
// was made, as far as its filesystem knows.
func tail(pods *os.Root, name string, since time.Time) (text []byte, born time.Time, err error) {
	// O_NONBLOCK: opening a FIFO does not block.
	f, err := pods.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, born, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.ModTime().Before(since) {
		return nil, born, errors.Join(err, fs.ErrInvalid)
	}
	var sx unix.Statx_t
	if err := hostfs.Statx(int(f.Fd()), hostfs.Self, &sx); err != nil {
		return nil, born, err
	}
	b := make([]byte, min(tailBytes, st.Size()))
	n, err := f.ReadAt(b, st.Size()-int64(len(b)))
	if errors.Is(err, io.EOF) { // truncated meanwhile
		err = nil
	}
	return b[:n], hostfs.Time(hostfs.Born(&sx)), err
}
