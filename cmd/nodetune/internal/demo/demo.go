package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotCured reports that a call failed again under a higher limit: then another
// limit is reached as well, which the diagnosis names.
var ErrNotCured = errors.New("the call still fails under the higher limit of the namespace: a limit of this host is reached too. Next: sudo nodetune check")

// scene is one limit that is reached and raised.
type scene struct {
	title     string
	key       string // of the namespace
	low, high int
	request   string
	call      string
	errno     syscall.Errno
}

// The limits are small, since what the child takes counts for its user on the
// host as well.
var scenes = []scene{
	{"the inotify instances of a user are used up", "user.max_inotify_instances", 4, 8, newInstance, "inotify_init1", unix.EMFILE},
	{"the inotify watches of a user are used up", "user.max_inotify_watches", 16, 32, newWatch, "inotify_add_watch", unix.ENOSPC},
}

// Stage is where the demo is shown.
type Stage struct {
	Out io.Writer
	// Heading renders a title, Failure the result of a call that failed, Success
	// that of one that did not.
	Heading, Failure, Success func(string) string
	// Diagnose writes what `nodetune why` reports of a process. The limits of its
	// namespace can be read inside of it only: Diagnose gets the value of key.
	Diagnose func(ctx context.Context, pid, errno int, key string, limit int64) error
	// Child are the arguments that make this program the child: [Collect].
	Child []string
}

// Run shows the demo. It returns a [*RefusedError] where the kernel permits no user
// namespace, and [ErrNotCured].
func Run(ctx context.Context, s Stage) error {
	c, err := start(ctx, s.Child)
	if err != nil {
		return refusal(err, sysctl)
	}
	defer c.end()
	if _, err := fmt.Fprintf(s.Out, "Process %d (%s) runs in a user namespace of its own. No limit of the host changes.\n", c.pid(), comm); err != nil {
		return err
	}
	for _, scene := range scenes {
		if err := s.play(ctx, c, scene); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(s.Out, "\nOn this host: nodetune check shows the limits, and sudo nodetune apply raises what is too low.\n")
	return err
}

// play reaches the limit of a scene, diagnoses it and raises it.
func (s Stage) play(ctx context.Context, c *child, scene scene) error {
	s.print("\n%s\n", s.Heading(fmt.Sprintf("Errno %d: %s", scene.errno, scene.title)))
	if err := s.limit(c, scene.key, scene.low); err != nil {
		return err
	}
	granted := 0
	var errno syscall.Errno
	for ; granted <= scene.low; granted++ {
		var err error
		if errno, err = c.ask(scene.request); err != nil {
			return err
		}
		if errno != 0 {
			break
		}
	}
	if granted > 0 {
		s.print("  %-34s %s\n", fmt.Sprintf("%s, %d times", scene.call, granted), s.Success("ok"))
	}
	if errno == 0 {
		return fmt.Errorf("the kernel granted %d calls of %s at a limit of %d: %s does not hold here", granted, scene.call, scene.low, scene.key)
	}
	s.print("  %-34s %s\n\n%s\n", scene.call, s.Failure(failure(errno)), s.Heading(fmt.Sprintf("$ nodetune why %d --errno %d", c.pid(), errno)))
	if err := s.Diagnose(ctx, c.pid(), int(errno), scene.key, int64(scene.low)); err != nil {
		return err
	}
	s.print("\n%s\n", s.Heading("The cure"))
	if err := s.limit(c, scene.key, scene.high); err != nil {
		return err
	}
	errno, err := c.ask(scene.request)
	switch {
	case err != nil:
		return err
	case errno != 0:
		s.print("  %-34s %s\n", scene.call, s.Failure(failure(errno)))
		return ErrNotCured
	}
	s.print("  %-34s %s\n", scene.call, s.Success("ok"))
	return nil
}

// limit makes the child, which is root in its namespace, write a limit of it.
func (s Stage) limit(c *child, key string, value int) error {
	errno, err := c.ask(setLimit, key, strconv.Itoa(value))
	if err != nil {
		return err
	}
	if errno != 0 {
		return refusal(errno, sysctl)
	}
	s.print("  %-34s %s\n", fmt.Sprintf("write %s = %d", key, value), s.Success("ok"))
	return nil
}

// print ignores that the reader has gone: the demo then ends with the child.
func (s Stage) print(format string, args ...any) { _, _ = fmt.Fprintf(s.Out, format, args...) }

func failure(errno syscall.Errno) string {
	return fmt.Sprintf("errno %d, %s: %q", errno, unix.ErrnoName(errno), errno.Error())
}
