package sysctl

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// readProblem returns why k could not be read and what to do about it.
func readProblem(k Key, tree string, err error) error {
	if _, ok := errors.AsType[*notMounted](err); ok {
		return fmt.Errorf("%w below %s, so %s cannot be seen", err, tree, k)
	}
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("read %s: %w", k, unix.ENOENT)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("read %s below %s: %w: run it as root", k, tree, err)
	case errors.Is(err, unix.ENFILE), errors.Is(err, unix.EMFILE):
		return fmt.Errorf("read %s: %w: no descriptor is left to open it with", k, err)
	}
	return fmt.Errorf("read %s below %s: %w", k, tree, err)
}

// errRefused marks a value that the kernel did not accept.
var errRefused = errors.New("the kernel refused the value")

// writeProblem returns why v could not be written to k and what to do about it.
func writeProblem(k Key, v Value, tree string, err error) error {
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("write %s: %s is mounted read-only here: run nodetune on the host, or mount the host's %s into the container, read-write and below the directory that --path.procfs names: %w", k, tree, mountsFor(k), err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("write %s: %w: %s", k, err, privilegeFor(k))
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		return fmt.Errorf("%w %d for %s (%w): it is out of this kernel's range; configure another", errRefused, int64(v), k, err)
	case errors.Is(err, unix.ENFILE), errors.Is(err, unix.EMFILE):
		return fmt.Errorf("write %s: %w: no descriptor is left to open it with", k, err)
	}
	return fmt.Errorf("write %d to %s below %s: %w", int64(v), k, tree, err)
}

// narrowMounts hold every key that the built-in profiles write. All of
// /proc/sys/fs would include binfmt_misc, which runs programs as root of the host.
var narrowMounts = []string{"/proc/sys/fs/inotify", "/proc/sys/fs/epoll", "/proc/sys/fs/file-max"}

// mountsFor names the mounts that writing takes: the narrow ones, and k's own file
// where it is in none of them.
func mountsFor(k Key) string {
	file := "/proc/sys/" + k.Path()
	mounts := narrowMounts
	if !slices.ContainsFunc(narrowMounts, func(m string) bool { return file == m || strings.HasPrefix(file, m+"/") }) {
		mounts = append(slices.Clone(mounts), file)
	}
	last := len(mounts) - 1
	return strings.Join(mounts[:last], ", ") + " and " + mounts[last]
}

func privilegeFor(k Key) string {
	if len(k) > 5 && k[:5] == "user." {
		return "it needs uid 0 and CAP_SYS_RESOURCE in the initial user namespace"
	}
	return "it needs uid 0 of the initial user namespace (no capability, but sudo or runAsUser: 0 without hostUsers: false)"
}

// notKeptError reports that the key holds another value than was written.
func notKeptError(k Key, wrote, kept Value) error {
	return fmt.Errorf("%w %d for %s and kept %d: it rounds or bounds the value, or another program wrote at the same moment; run 'nodetune check', and configure what the kernel keeps if it stays", errRefused, int64(wrote), k, int64(kept))
}
