package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A Running sandbox, seen from outside.
type Running struct {
	Dir   string
	Owner int // pid of the process in Run
	Init  int // pid of PID 1 of the sandbox
}

// live returns the directories that a run has locked.
func live() ([]string, error) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), dirPattern+"*"))
	if err != nil {
		return nil, err
	}
	var locked []string
	for _, dir := range dirs {
		lock, err := tryLock(dir)
		switch {
		case err == nil:
			_ = lock.Close() // the next run sweeps it
		case errors.Is(err, syscall.EWOULDBLOCK):
			locked = append(locked, dir)
		case !errors.Is(err, fs.ErrNotExist): // being removed
			return nil, err
		}
	}
	return locked, nil
}

// Find returns the sandboxes of this machine that live.
func Find() ([]Running, error) {
	dirs, err := live()
	if err != nil {
		return nil, err
	}
	var all []Running
	for _, dir := range dirs {
		b, err := os.ReadFile(filepath.Join(dir, "pids"))
		if err != nil {
			continue // just starting
		}
		f := strings.Fields(string(b))
		if len(f) != 2 {
			return nil, fmt.Errorf("read %s/pids: want two pids, got %q", dir, b)
		}
		owner, err1 := strconv.Atoi(f[0])
		init, err2 := strconv.Atoi(f[1])
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("read %s/pids: %w", dir, err)
		}
		all = append(all, Running{Dir: dir, Owner: owner, Init: init})
	}
	return all, nil
}

// Enter returns the arguments of nsenter(1) that put a command into r.
func (r Running) Enter() []string {
	return []string{"nsenter", "--target", strconv.Itoa(r.Init), "--mount", "--pid", "--net", "--ipc", "--uts", "--"}
}

func (r *run) writePIDs(init int) error {
	return os.WriteFile(filepath.Join(r.dir, "pids"), fmt.Appendf(nil, "%d %d\n", os.Getpid(), init), 0o600)
}
