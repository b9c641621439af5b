package containerlog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// In a pod without hostPID the host's procfs counts other pids than the kernel
// takes from us. nodetune does not take itself for a reader that is behind, and
// signals no process.
func TestOthersPIDs(t *testing.T) {
	privtest.Root(t)
	if disktest.IsHelper(t) {
		rotateAmongOthersPIDs(t, os.Getenv("ROOT"), disktest.EnvInt("WRITER"))
		return
	}
	root := t.TempDir()
	_, file := disktest.PodLog(t, root, "web")
	disktest.WriteFile(t, file, strings.Repeat("a line that remains unread.\n", 3*logdir.ReadMargin/28))
	app := filepath.Join(root, "var/log/app.log")
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	disktest.WriteFile(t, app, "")
	w := disktest.StartWriter(t, app, "REOPEN=1", "RATE=1000")
	cmd := disktest.Helper(t, t.Name(), "ROOT="+root, fmt.Sprint("WRITER=", w.Cmd.Process.Pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if out, err := cmd.Output(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	_ = w.Cmd.Process.Signal(syscall.SIGTERM)
	<-w.Done
	if all, _ := filepath.Glob(app + ".*"); len(all) > 0 {
		t.Errorf("rotated, though its writer cannot be asked: %q", all)
	}
}

func rotateAmongOthersPIDs(t *testing.T, root string, writer int) {
	r, err := rotate.New("/proc", root, []string{"/var/log"})
	disktest.Must(t, err)
	defer r.Close()
	if r.Host.Walker.InHostPIDNamespace() {
		t.Fatal("this process is not in a pid namespace of its own")
	}
	reopen := Runtime{Reopen: func(context.Context) error { return nil }}
	file := "/var/log/pods/default_web_11111111-2222-3333-4444-555555555555/web/0.log"
	if done, err := rotateLog(t.Context(), r.Host, file, reopen, rotateOptions{}, time.Now()); err != nil || done == "" {
		t.Errorf("%+v, %v", done, err)
	}
	until := time.Now().Add(time.Minute)
	for {
		_, err = r.Rotate(t.Context(), "/var/log/app.log", rotate.Options{Reopen: rotate.Reopen{PID: writer}}, time.Now())
		if err != nil || time.Now().After(until) {
			break
		}
		time.Sleep(10 * time.Millisecond) // it has written nothing yet
	}
	if err == nil || !strings.Contains(err.Error(), "hostPID") {
		t.Errorf("a writer that cannot be signalled: %v", err)
	}
}
