package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Part is one file of a configuration.
type Part struct{ Name, Text string }

// Bounds keep a wrong path from being read into memory. The longest sensible
// configuration has some kilobytes.
const (
	maxBytes   = 1 << 20
	maxEntries = 1000 // of a directory
	maxParts   = 100  // files of a directory that are read
)

// readParts returns the parts of the named configuration: the file, or each
// *.yaml file of the directory in the order of names. A file that goes away
// between listing and reading is part of an update, and the list is read again.
func readParts(name string, trust trust) ([]Part, error) {
	for try := 0; ; try++ {
		parts, err := readPartsOnce(name, trust)
		if _, listed := errors.AsType[*entryError](err); !listed || !errors.Is(err, fs.ErrNotExist) || try == 2 {
			return parts, err
		}
	}
}

// An entryError is about a file that the directory lists.
type entryError struct{ error }

func (e *entryError) Unwrap() error { return e.error }

func readPartsOnce(name string, trust trust) ([]Part, error) {
	f, err := open(name)
	if err != nil {
		return nil, &ReadError{err}
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, &ReadError{err}
	}
	if err := trust.check(name, f); err != nil {
		return nil, err
	}
	if !st.IsDir() {
		p, err := readPart(f, name)
		return []Part{p}, err
	}
	files, err := partNames(f, name)
	if err != nil {
		return nil, err
	}
	parts := make([]Part, 0, len(files))
	size := 0
	for _, file := range files {
		p, err := openPart(filepath.Join(name, file), trust)
		if err != nil {
			return nil, &entryError{err}
		}
		if size += len(p.Text); size > maxBytes {
			return nil, fmt.Errorf("%s: its files have more than %d bytes, no configuration has", name, maxBytes)
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// partNames returns the files of a directory that are parts, sorted. Entries that
// start with a dot are not: a mounted ConfigMap keeps its versions in such ones,
// and editors their copies.
func partNames(dir *os.File, name string) ([]string, error) {
	entries, err := dir.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, &ReadError{err}
	}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("%s: has more than %d entries: give nodetune a directory of its own", name, maxEntries)
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".yaml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, e.Name())
		}
	}
	switch {
	case len(files) == 0:
		return nil, fmt.Errorf("%s: has no file *.yaml: put a configuration there, or leave out --config to use the built-in one", name)
	case len(files) > maxParts:
		return nil, fmt.Errorf("%s: has %d files *.yaml, at most %d are read", name, len(files), maxParts)
	}
	slices.Sort(files)
	return files, nil
}

func openPart(name string, trust trust) (Part, error) {
	f, err := open(name)
	if err != nil {
		return Part{}, &ReadError{err}
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return Part{}, &ReadError{err}
	}
	if !st.Mode().IsRegular() {
		return Part{}, fmt.Errorf("%s: is not a regular file: move it away, or begin its name with a dot", printable(name))
	}
	if err := trust.check(name, f); err != nil {
		return Part{}, err
	}
	return readPart(f, printable(name))
}

// readPart reads at most one byte more than a configuration may have.
func readPart(r io.Reader, name string) (Part, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	if err != nil {
		return Part{}, &ReadError{err}
	}
	return Part{Name: name, Text: string(b)}, nil
}

// open does not wait for the other end of a FIFO.
func open(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// printable quotes a name that a terminal would obey.
func printable(name string) string {
	if q := strconv.QuoteToASCII(name); q[1:len(q)-1] != name {
		return q
	}
	return name
}
