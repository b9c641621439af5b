// Package atomicfile replaces a small file so that a reader, and the machine
// after a crash, finds the old content or the new and nothing between.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Write replaces name below dir with content: a temporary file beside it,
// fsync, rename, fsync of the directory. The path is resolved inside dir; a
// symbolic link at name itself is replaced and not followed. Callers that may
// write the same name at once must hold a lock: the temporary file has a fixed
// name, so that a killed writer leaves one behind and not a growing heap.
func Write(dir *os.Root, name string, content []byte, perm fs.FileMode) error {
	temp := path.Join(path.Dir(name), "."+path.Base(name)+".tmp")
	if err := write(dir, name, temp, content, perm); err != nil {
		_ = dir.Remove(temp)
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return nil
}

func write(dir *os.Root, name, temp string, content []byte, perm fs.FileMode) error {
	if err := dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// O_EXCL does not follow a link that another user put there.
	f, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(perm) // whatever the umask says
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := dir.Rename(temp, name); err != nil {
		return err
	}
	return syncDir(dir, path.Dir(name))
}

// Remove removes name below dir and makes that durable. A missing name is not
// an error.
func Remove(dir *os.Root, name string) error {
	err := dir.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = syncDir(dir, path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

func syncDir(dir *os.Root, name string) error {
	d, err := dir.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
