package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	dirPattern = "nodetune-e2e-"
	lockFile   = "lock" // in the directory
)

// kubeletKeys are the settings of the whole machine that a kubelet changes
// (pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables).
var kubeletKeys = []string{
	"vm/overcommit_memory",
	"vm/panic_on_oom",
	"kernel/panic",
	"kernel/panic_on_oops",
	"kernel/keys/root_maxkeys",
	"kernel/keys/root_maxbytes",
}

// A run is what one sandbox leaves outside its namespaces.
type run struct {
	dir  string
	lock *os.File
}

// newRun sweeps up killed runs, makes the directory, locks it, and notes the
// settings to put back.
func newRun() (*run, error) {
	one, err := oneAtATime()
	if err != nil {
		return nil, err
	}
	defer func() { _ = one.Close() }()
	if err := sweep(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", dirPattern)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, lockFile), nil, 0o600); err != nil {
		return nil, err
	}
	lock, err := tryLock(dir)
	if err != nil {
		return nil, err
	}
	r := &run{dir: dir, lock: lock}
	if err := r.noteKubeletKeys(); err != nil {
		return nil, errors.Join(err, r.remove())
	}
	return r, nil
}

// noteKubeletKeys notes what to put back. Beside another run its kubelet's
// values are in force already: what that one noted is what the machine had.
func (r *run) noteKubeletKeys() error {
	others, err := r.others()
	if err != nil {
		return err
	}
	for _, dir := range others {
		if b, err := os.ReadFile(filepath.Join(dir, kubeletSaved)); err == nil {
			return os.WriteFile(filepath.Join(r.dir, kubeletSaved), b, 0o600)
		}
	}
	return save(filepath.Join(r.dir, kubeletSaved), kubeletKeys)
}

// others are the directories of the other runs that live.
func (r *run) others() ([]string, error) {
	dirs, err := live()
	return slices.DeleteFunc(dirs, func(dir string) bool { return dir == r.dir }), err
}

// oneAtATime keeps others from sweeping while a directory exists that is not
// locked yet, until the file is closed.
func oneAtATime() (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "nodetune-e2e.lock"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// tryLock takes the lock that a living run holds on its directory.
func tryLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// end is remove, with the lock that it wants.
func (r *run) end() error {
	one, err := oneAtATime()
	if err != nil {
		return err
	}
	defer func() { _ = one.Close() }()
	return r.remove()
}

// remove puts the settings back and removes cgroups and directory. It is called
// one at a time: the last run that ends restores what its kubelet changed.
func (r *run) remove() error {
	err := errors.Join(r.restore(), removeCgroups(filepath.Base(r.dir)))
	if os.Getenv("NODETUNE_E2E_KEEP") == "" {
		err = errors.Join(err, removeDir(r.dir))
	} else {
		fmt.Fprintln(os.Stderr, "e2e: kept", r.dir)
	}
	return errors.Join(err, r.lock.Close())
}

// removeDir removes a run's directory, and the lock last: a process that finds a
// directory without a lock must not use it.
func removeDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(filepath.Join(dir, lockFile)), os.Remove(dir))
}

func (r *run) restore() error {
	others, err := r.others()
	if err == nil && len(others) == 0 {
		err = restore(filepath.Join(r.dir, kubeletSaved))
	}
	if _, e := os.Stat(filepath.Join(r.dir, heldSaved)); e == nil { // killed while it held them
		lock, e := lockKernel()
		if e != nil {
			return errors.Join(err, e)
		}
		err = errors.Join(err, restore(filepath.Join(r.dir, heldSaved)), lock.Close())
	}
	return err
}

// removeCgroups removes the cgroup called name from every mounted hierarchy.
func removeCgroups(name string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		errs = append(errs, removeTree(filepath.Join(root, name)))
	}
	return errors.Join(errs...)
}

// MakeCgroups makes the run's cgroup in every mounted hierarchy: a kubelet
// wants its --cgroup-root to exist.
func MakeCgroups() error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		dir := filepath.Join(root, CgroupName())
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// cpuset of cgroup v1: a child has no CPU until it is given some.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if b, err := os.ReadFile(filepath.Join(root, file)); err == nil && len(strings.TrimSpace(string(b))) > 0 {
				_ = os.WriteFile(filepath.Join(dir, file), b, 0)
			}
		}
	}
	return nil
}

// JoinCgroups moves this process into the run's cgroups.
func JoinCgroups() error {
	if err := MakeCgroups(); err != nil {
		return err
	}
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.WriteFile(filepath.Join(root, CgroupName(), "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	return nil
}

func cgroupRoots() ([]string, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var roots []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 2 && (f[2] == "cgroup" || f[2] == "cgroup2") && !slices.Contains(roots, f[1]) {
			roots = append(roots, f[1])
		}
	}
	return roots, nil
}

// removeTree removes a cgroup and those below it. A cgroup stays busy for a
// moment after its last process was reaped.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := syscall.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
	}
}

// Sweep removes what killed runs left behind.
func Sweep() error {
	one, err := oneAtATime()
	if err != nil {
		return err
	}
	defer func() { _ = one.Close() }()
	return sweep()
}

// sweep removes the directories that no process has locked, and what belongs to them.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern+"*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		lock, err := tryLock(dir)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(dir) // being removed, or killed before it was locked
			continue
		}
		if err != nil {
			return fmt.Errorf("sweep %s: %w", dir, err)
		}
		r := &run{dir: dir, lock: lock}
		if err := r.remove(); err != nil {
			return fmt.Errorf("sweep %s: %w", dir, err)
		}
		fmt.Fprintln(os.Stderr, "e2e: removed what was left of", dir)
	}
	return nil
}
