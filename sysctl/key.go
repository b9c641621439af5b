package sysctl

import (
	"errors"
	"fmt"
	"strings"
)

// Key names a kernel setting in its dotted spelling, for example
// fs.inotify.max_user_instances. A dot inside a component, as in the interface
// eth0.100, is spelled as a slash: net.ipv4.conf.eth0/100.forwarding.
type Key string

// The keys of the built-in profiles.
const (
	MaxUserInstances    Key = "fs.inotify.max_user_instances"
	MaxUserWatches      Key = "fs.inotify.max_user_watches"
	MaxQueuedEvents     Key = "fs.inotify.max_queued_events"
	FileMax             Key = "fs.file-max"
	NrOpen              Key = "fs.nr_open"
	EpollMaxUserWatches Key = "fs.epoll.max_user_watches"
	// Since 4.13 the same variables as fs.inotify.max_user_*, seen from a user
	// namespace; in the initial one they are one and the same.
	UserMaxInstances Key = "user.max_inotify_instances"
	UserMaxWatches   Key = "user.max_inotify_watches"
)

// maxKeyBytes is PATH_MAX less the room for /proc/sys/ before it.
const maxKeyBytes = 4096 - 64

// ParseKey reads both spellings of sysctl.d(5): the first separator decides.
// Where it is a slash, the name is a path below /proc/sys; where it is a dot,
// dots and slashes change places. Names that could leave /proc/sys, or that
// would break a line or a terminal, are errors.
func ParseKey(name string) (Key, error) {
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("sysctl key %s: %w", brief(name), err)
	}
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '/' {
		name = swap(name)
	}
	return Key(name), nil
}

func checkName(name string) error {
	if name == "" {
		return errors.New("is empty")
	}
	if len(name) > maxKeyBytes {
		return fmt.Errorf("is %d bytes long, a path has at most %d", len(name), maxKeyBytes)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f {
			return fmt.Errorf("contains the byte %#02x: want printable ASCII without blanks", c)
		}
	}
	path := name
	if i := strings.IndexAny(name, "./"); i < 0 {
		return errors.New("has no separator: want a name such as fs.file-max")
	} else if name[i] == '.' {
		path = swap(name)
	}
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "":
			return errors.New("has an empty component")
		case part == "." || part == "..":
			return errors.New("has a component that would leave /proc/sys")
		case len(part) > 255: // NAME_MAX
			return fmt.Errorf("has a component of %d bytes, a file name has at most 255", len(part))
		}
	}
	return nil
}

// Path returns the file of k below /proc/sys.
func (k Key) Path() string { return swap(string(k)) }

// swap exchanges dots and slashes.
func swap(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch c {
		case '.':
			b[i] = '/'
		case '/':
			b[i] = '.'
		}
	}
	return string(b)
}

// brief quotes s for an error message, without repeating megabytes of it.
func brief(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%q...", s[:64])
	}
	return fmt.Sprintf("%q", s)
}
