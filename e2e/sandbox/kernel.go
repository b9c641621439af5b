package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Where settings are noted in a run's directory.
const (
	kubeletSaved = "sysctls-kubelet.json"
	heldSaved    = "sysctls-held.json"
)

// heldKeys are the settings of the whole machine that nodetune changes.
var heldKeys = []string{
	"fs/inotify/max_user_instances",
	"fs/inotify/max_user_watches",
	"fs/inotify/max_queued_events",
	"fs/epoll/max_user_watches",
	"fs/file-max",
	"fs/nr_open",
}

// HoldKernel keeps every other test of this machine from the settings that
// nodetune changes until release is called, which puts them back. It is the
// lock of internal/privtest.
func HoldKernel() (release func() error, err error) {
	lock, err := lockKernel()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(Dir(), heldSaved)
	if err := save(file, heldKeys); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return func() error {
		return errors.Join(restore(file), os.Remove(file), lock.Close())
	}, nil
}

func lockKernel() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "nodetune-kernel.lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// save notes the values of keys in file.
func save(file string, keys []string) error {
	values := map[string]string{}
	for _, key := range keys {
		b, err := os.ReadFile(filepath.Join("/proc/sys", key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		values[key] = strings.TrimSpace(string(b))
	}
	b, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// restore puts back what save noted.
func restore(file string) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // killed before it noted them, so before it changed any
	}
	if err != nil {
		return err
	}
	var values map[string]string
	if err := json.Unmarshal(b, &values); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	var errs []error
	for key, value := range values {
		path := filepath.Join("/proc/sys", key)
		now, err := os.ReadFile(path)
		if err == nil && strings.TrimSpace(string(now)) == value {
			continue
		}
		errs = append(errs, os.WriteFile(path, []byte(value), 0))
	}
	return errors.Join(errs...)
}
