package sysctld

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// wrongDirs are directories in which people look for sysctl.d, and which no
// loader reads.
var wrongDirs = []string{
	"/etc/sysctl", "/etc/sysctl.conf.d", "/etc/sysctld", "/etc/systemd/sysctl.d", "/usr/etc/sysctl.d",
	"/usr/local/etc/sysctl.d", "/usr/share/sysctl.d", "/usr/lib/systemd/sysctl.d", "/var/lib/sysctl.d",
}

// maxStrays and maxStrayBytes bound the files that are read only to explain why
// they have no effect.
const (
	maxStrays     = 64
	maxStrayBytes = 256 << 10
)

// stray is a file that looks like one of sysctl.d and that the loader ignores.
type stray struct{ path, why string }

// findStrays lists the files that the loader ignores.
func (b *Boot) findStrays(t *tree) []stray {
	var all []stray
	add := func(path, why string) {
		if len(all) < maxStrays && path != b.edit.path {
			all = append(all, stray{path, why})
		}
	}
	var ids []dirID
	for _, dir := range dirs {
		listed, id, err := t.list(dir)
		if err != nil || slices.Contains(ids, id) {
			continue
		}
		ids = append(ids, id)
		for _, name := range listed {
			switch {
			case !isConf(name):
				add(dir+"/"+name, "the file name does not end in .conf")
			case b.Loader == Systemd && name[0] == '.':
				add(dir+"/"+name, "systemd-sysctl does not read hidden files")
			}
			if inner, _, err := t.list(dir + "/" + name); err == nil {
				for _, file := range inner {
					add(dir+"/"+name+"/"+file, "the loaders read no directories below "+dir)
				}
			}
		}
	}
	for _, dir := range wrongDirs {
		listed, _, err := t.list(dir)
		if err != nil {
			continue
		}
		for _, name := range listed {
			add(dir+"/"+name, "no loader reads the directory "+dir)
		}
	}
	if b.Loader == Systemd && !slices.ContainsFunc(b.Files, func(f File) bool { return t.leadsTo(f.Path, procpsLast) }) {
		add(procpsLast, "systemd-sysctl does not read "+procpsLast)
	}
	return all
}

// list returns the names in directory dir, sorted. It does not follow a link at
// the end of dir below the directories of sysctl.d.
func (t *tree) list(dir string) ([]string, dirID, error) {
	f, err := t.openat(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK)
	if err != nil {
		return nil, dirID{}, err
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, dirID{}, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	listed, err := f.Readdirnames(maxDirNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, dirID{}, err
	}
	slices.Sort(listed)
	return listed, dirID{st.Dev, st.Ino}, nil
}

// maxDirNames bounds a directory that holds no files of sysctl.d.
const maxDirNames = 4096

// leadsTo reports whether two paths are one file.
func (t *tree) leadsTo(a, b string) bool {
	one, errA := t.id(a)
	other, errB := t.id(b)
	return errA == nil && errB == nil && one == other
}

func (t *tree) id(name string) (dirID, error) {
	f, err := t.openat(name, unix.O_PATH)
	if err != nil {
		return dirID{}, err
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	return dirID{st.Dev, st.Ino}, err
}

// readStray adds the lines of s that would set one of the paths, were the file
// read.
func (b *Boot) readStray(t *tree, s stray) {
	f, err := t.openRegular(s.path)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	in := newLines(io.LimitReader(f, maxStrayBytes), b.Loader)
	for in.next() == nil {
		text := string(in.text)
		a, ok, _ := b.Loader.parseLine(text)
		for _, path := range b.paths {
			if ok && a.sets(path) && !isGlob(a.name) || b.Loader.whyIneffective(text, ok, path) != "" {
				b.ineffective(path, Place{s.path, in.number}, text, a, ok, s.why)
				break
			}
		}
	}
}

// maxIneffective bounds the lines that are kept only to be explained.
const maxIneffective = 64

// unread is a line that names path and has no effect.
type unread struct {
	Setting
	path string
}

func (b *Boot) ineffective(path string, at Place, text string, a assignment, assigned bool, why string) {
	if len(b.unread) >= maxIneffective {
		return
	}
	s := Setting{Place: at, Key: shorten(strings.TrimSpace(text)), Disposition: NoEffect, Reason: why}
	if assigned {
		s.Key, s.Value = shorten(a.written), shorten(a.value)
	}
	b.unread = append(b.unread, unread{s, path})
}

// shorten cuts s to the length of a line of text.
func shorten(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
