package sysctld

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/atomicfile"
)

// Write puts the content of p into [PersistFile] below root, or removes the
// file where p needs none, and reports whether that changed anything. A reader,
// and the machine after a crash, finds the old file or the new. It needs uid 0
// or CAP_DAC_OVERRIDE.
func (p *PersistPlan) Write(root string) (changed bool, err error) {
	if p.Content == nil {
		return RemovePersisted(root)
	}
	return onPersistFile(root, func(dir *os.Root, name string, old []byte) (bool, error) {
		if bytes.Equal(old, p.Content) {
			return false, nil
		}
		if err := dir.MkdirAll(path.Dir(name), 0o755); err != nil {
			return false, err
		}
		return true, atomicfile.Write(dir, name, p.Content, 0o644)
	})
}

// RemovePersisted removes [PersistFile] below root where it is ours, and
// reports whether it was there.
func RemovePersisted(root string) (removed bool, err error) {
	return onPersistFile(root, func(dir *os.Root, name string, old []byte) (bool, error) {
		return old != nil, atomicfile.Remove(dir, name)
	})
}

// Persisted reports whether [PersistFile] is there below root, or why it is not
// ours to write or remove.
func Persisted(root string) (bool, error) {
	return onPersistFile(root, func(_ *os.Root, _ string, old []byte) (bool, error) { return old != nil, nil })
}

// onPersistFile calls do with the file's content, nil where there is none, once
// it is sure that the file is ours.
func onPersistFile(root string, do func(dir *os.Root, name string, old []byte) (bool, error)) (bool, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return false, err
	}
	defer func() { _ = dir.Close() }()
	name := strings.TrimPrefix(PersistFile, "/")
	old, err := readOurs(dir, name)
	if err != nil {
		return false, fmt.Errorf("%s: %w", PersistFile, err)
	}
	changed, err := do(dir, name, old)
	if errors.Is(err, unix.EROFS) {
		err = fmt.Errorf("%w: this host has no writable /etc: run 'nodetune apply' at boot instead", err)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", PersistFile, err)
	}
	return changed, nil
}

// errForeign reports that [PersistFile] is not ours to replace or remove.
var errForeign = errors.New("it was not written by nodetune, or edited since: move it away, or keep it and leave out --persist")

// readOurs returns the content of our file, nil where there is none, and an
// error where the file is not ours.
func readOurs(dir *os.Root, name string) ([]byte, error) {
	st, err := dir.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case st.Mode()&fs.ModeSymlink != 0:
		target, _ := dir.Readlink(name)
		return nil, fmt.Errorf("is a link to %q, which an administrator may have used to disable it: remove the link, or leave out --persist", target)
	case !st.Mode().IsRegular():
		return nil, errors.New("is not a regular file: remove it, or leave out --persist")
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxLineBytes))
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(content, []byte(persistMark)) {
		return nil, errForeign
	}
	return content, nil
}
