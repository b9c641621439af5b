package accounting

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
	"github.com/nodetune/nodetune/disk"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/inotify"
	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/reporter/condition"
)

// TestStoppedCollector: a collector that does not read its events is found by its
// queue, long before that is full, and no longer once it reads again.
func TestStoppedCollector(t *testing.T) {
	privtest.Root(t)
	dir := t.TempDir()
	collector := exec.Command("inotifywait", "-q", "-m", "-e", "create", dir)
	collector.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := collector.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = collector.Process.Kill()
		_ = collector.Wait()
	})
	policy := inotify.DefaultPolicy()
	policy.EventsUnreadAfter = field.Duration(time.Second)
	h, err := Open(host.Roots{Procfs: "/proc", Sysfs: "/sys", Rootfs: t.TempDir()}, policy)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	// until makes passes until the collector is as it should be.
	until := func(what string, ok func(inotify.Process) bool) inotify.Usage {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			u, err := h.Usage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			p, _ := u.Process(collector.Process.Pid)
			if ok(p) {
				return u
			}
			if time.Now().After(end) {
				t.Fatalf("the collector is never %s: %+v, holders from %s %s", what, p, u.HoldersSource, u.HoldersReason)
			}
		}
	}
	until("watching", func(p inotify.Process) bool { return p.Watches == 1 && p.QueuedEventsLimit > 0 })
	if err := collector.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const events = 5
	for i := range events {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stalled := func(u inotify.Usage) string {
		p, _ := u.Process(collector.Process.Pid)
		now := time.Now()
		for _, v := range condition.Evaluate(reporter.Snapshot{
			Disk:    reporter.Result[disk.Usage]{At: now, Value: disk.Usage{Readers: []logs.Reader{{PID: p.PID, Start: p.Start}}}},
			Inotify: reporter.Result[inotify.Usage]{At: now, Value: u},
		}, now, time.Minute, policy) {
			if v.Type == condition.LogCollectorStalled {
				return v.Reason
			}
		}
		return "no verdict"
	}
	u := until("stopped", func(p inotify.Process) bool { return p.QueuedEvents == events && p.EventsUnreadSeconds >= 1 })
	if got := stalled(u); got != condition.EventsUnread {
		t.Errorf("a stopped collector is %q", got)
	}
	if err := collector.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	u = until("going on", func(p inotify.Process) bool { return p.QueuedEvents == 0 && p.EventsUnreadSeconds == 0 })
	if got := stalled(u); got == condition.EventsUnread {
		t.Errorf("a collector that goes on is %q", got)
	}
}
