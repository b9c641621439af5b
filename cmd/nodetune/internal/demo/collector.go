package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// comm is the name that the child gives itself.
const comm = "demo-collector"

// Requests to the child, one a line. It answers each with the errno of the
// call, 0 for none.
const (
	setLimit    = "limit"    // limit KEY VALUE: write a limit of the namespace
	newInstance = "instance" // inotify_init1(2)
	newWatch    = "watch"    // inotify_add_watch(2) on a file of its own
)

// Collect is the child: it makes the calls that it reads from requests until
// their end, and writes the errno of each to answers.
func Collect(requests io.Reader, answers io.Writer) error {
	_ = os.WriteFile("/proc/self/comm", []byte(comm), 0) // only a name
	var c collector
	in := bufio.NewScanner(requests)
	for in.Scan() {
		err := c.do(strings.Fields(in.Text()))
		errno, known := errors.AsType[syscall.Errno](err)
		if err != nil && !known {
			return err
		}
		if _, err := fmt.Fprintln(answers, int(errno)); err != nil {
			return err
		}
	}
	return in.Err()
}

// collector holds what the child has taken. The end of the process gives it back.
type collector struct {
	instance int // the last one
}

func (c *collector) do(request []string) error {
	switch {
	case len(request) == 3 && request[0] == setLimit:
		return os.WriteFile(limitFile(request[1]), []byte(request[2]), 0)
	case len(request) == 1 && request[0] == newInstance:
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err == nil {
			c.instance = fd
		}
		return err
	case len(request) == 1 && request[0] == newWatch:
		return c.watch()
	}
	return fmt.Errorf("unknown request %q", request)
}

// watch watches a file that has no name in any directory: a second watch of one
// inode by the same instance would count once. The file stays open, since its
// end removes the watch.
func (c *collector) watch() error {
	file, err := unix.MemfdCreate("log", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	_, err = unix.InotifyAddWatch(c.instance, fmt.Sprintf("/proc/self/fd/%d", file), unix.IN_MODIFY)
	return err
}

// limitFile is where procfs shows user.max_inotify_* of the reader's namespace.
func limitFile(key string) string {
	return "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
}
