package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logs"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

func observer(t testing.TB, rootfs string, policy Policy) *Observer {
	t.Helper()
	o, err := New("/proc", "/sys", rootfs, policy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

func observe(t testing.TB, o *Observer, now time.Time) Usage {
	t.Helper()
	u, err := o.Observe(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (u Usage) filesystem(t testing.TB, path string) filesystem.Filesystem {
	t.Helper()
	for _, f := range u.Filesystems {
		if f.Path == path {
			return f
		}
	}
	t.Fatalf("no filesystem %s in %+v", path, u.Filesystems)
	return filesystem.Filesystem{}
}

// A filesystem of its own for the logs: its figures, its growth, and what
// becomes of it when it is read-only, shut down, mounted twice.
func TestFilesystemForReal(t *testing.T) {
	privtest.Root(t)
	host := t.TempDir()
	logs := filepath.Join(host, "var/log")
	disktest.Ext4(t, logs, 64<<20)
	disktest.Append(t, filepath.Join(logs, "a/0.log"), 1000)
	bind := filepath.Join(host, "srv/logs")
	if err := os.MkdirAll(bind, 0o755); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, "mount", "--bind", logs, bind)
	t.Cleanup(func() { _ = unix.Unmount(bind, unix.MNT_DETACH) })

	policy := DefaultPolicy()
	policy.Filesystems = []string{"/srv/logs"}
	o := observer(t, host, policy)
	now := time.Now()
	f := observe(t, o, now).filesystem(t, "/var/log")
	var st unix.Statfs_t
	if err := unix.Statfs(logs, &st); err != nil {
		t.Fatal(err)
	}
	if f.State != filesystem.StateOK || f.Type != "ext4" || f.SizeBytes != st.Blocks*4096 && f.SizeBytes != st.Blocks*uint64(st.Bsize) ||
		f.AvailBytes != st.Bavail*uint64(st.Bsize) || f.Inodes != st.Files || f.ReservedBytes == 0 {
		t.Errorf("%+v\nstatfs says %+v", f, st)
	}
	if len(f.Paths) != 2 || f.GrowthBytesPerSecond != nil {
		t.Errorf("%+v, want both paths and no growth yet", f)
	}

	const step = 2 << 20
	for i := range 4 {
		disktest.Append(t, filepath.Join(logs, "a/0.log"), step)
		unix.Sync() // delayed allocation
		now = now.Add(10 * time.Second)
		f = observe(t, o, now).filesystem(t, "/var/log")
		if f.GrowthBytesPerSecond == nil || *f.GrowthBytesPerSecond < step/10*0.9 || *f.GrowthBytesPerSecond > step/10*1.1 {
			t.Fatalf("step %d: growth %v, want about %d", i, f.GrowthBytesPerSecond, step/10)
		}
	}
	if want := float64(f.AvailBytes) / *f.GrowthBytesPerSecond; f.SecondsToFull == nil || *f.SecondsToFull != want {
		t.Errorf("full in %v, want %v", f.SecondsToFull, want)
	}

	disktest.Run(t, "mount", "-o", "remount,ro", logs)
	if f := observe(t, o, now).filesystem(t, "/var/log"); f.State != filesystem.StateReadOnly {
		t.Errorf("read-only: %+v", f)
	}
	disktest.Run(t, "mount", "-o", "remount,rw", logs)

	// What a kernel does that has given up on a filesystem, EXT4_IOC_SHUTDOWN.
	dir := disktest.Open(t, logs, unix.O_RDONLY)
	flags := uint32(2) // EXT4_GOING_FLAGS_NOLOGFLUSH
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(dir), 0x8004587d, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		t.Fatalf("shut the filesystem down: %v", errno)
	}
	u := observe(t, o, now.Add(time.Second))
	f = u.filesystem(t, "/var/log")
	if f.State == filesystem.StateOK && f.Measured() {
		t.Errorf("shut down: %+v", f)
	}
	if a := u.Pressure; a.Severity != Bad {
		t.Errorf("a log disk that is gone raises %+v", a)
	}
}

// The disk of all logs hangs: a pass says so, and ends.
func TestHungLogsForReal(t *testing.T) {
	privtest.Root(t)
	host := t.TempDir()
	disktest.HungMount(t, filepath.Join(host, "var/log"))
	policy := DefaultPolicy()
	policy.StatfsDeadline = policy.StatfsDeadline / 10
	o := observer(t, host, policy)
	now := time.Now()
	for i := range 3 {
		u := observe(t, o, now.Add(time.Duration(i)*10*time.Minute)) // each a full one
		if f := u.filesystem(t, "/var/log"); f.State != filesystem.StateHung || u.Pressure.Reason != ReasonUnusable || len(u.Scan.Errors) == 0 {
			t.Errorf("pass %d: %+v, %+v, %q", i, f, u.Pressure, u.Scan.Errors)
		}
	}
}

func TestHungMountForReal(t *testing.T) {
	privtest.Root(t)
	host := t.TempDir()
	disktest.Append(t, filepath.Join(host, "var/log/0.log"), 10)
	disktest.HungMount(t, filepath.Join(host, "var/log/dead"))
	policy := DefaultPolicy()
	policy.StatfsDeadline = policy.StatfsDeadline / 10
	o := observer(t, host, policy)
	now := time.Now()
	began := time.Now()
	u := observe(t, o, now)
	if f := u.filesystem(t, "/var/log/dead"); f.State != filesystem.StateHung {
		t.Errorf("%+v", f)
	}
	if u.Scan.Files != 1 {
		t.Errorf("%d files seen beside the dead mount, want 1", u.Scan.Files)
	}
	observe(t, o, now.Add(time.Second))
	if took := time.Since(began); took > time.Minute {
		t.Errorf("two passes took %v", took)
	}
}

// A process that has a container's log open for a moment is no collector. On a node
// without a collector, logs that no process follows raise no alarm.
func TestLookingIsNotCollecting(t *testing.T) {
	privtest.Root(t)
	host := t.TempDir()
	log := "/var/log/pods/" + disktest.PodA + "/0.log"
	disktest.Append(t, filepath.Join(host, log), 1000)
	o := observer(t, host, DefaultPolicy())
	now := time.Now()
	look := func(d time.Duration) Usage {
		f, err := os.Open(filepath.Join(host, log))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		u := observe(t, o, now.Add(d))
		if u.reader(os.Getpid(), log) == nil {
			t.Fatalf("the reader is not seen: %+v", u.Readers)
		}
		return u
	}
	look(0)
	observe(t, o, now.Add(time.Minute))
	disktest.Append(t, filepath.Join(host, log), 1000)
	late := observe(t, o, now.Add(time.Hour))
	if late.Collected || late.Reading.Severity != Clear || late.alone(log) == nil {
		t.Errorf("after a look: collected %t, %+v, unfollowed %+v", late.Collected, late.Reading, late.Unfollowed)
	}
	look(2 * time.Hour)
	if u := look(2*time.Hour + time.Minute); !u.Collected {
		t.Error("who has it open at every look is a collector")
	}
}

// until observes until ok, or fails after a time that no healthy machine needs.
func until(t testing.TB, o *Observer, what string, ok func(Usage) bool) Usage {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		u := observe(t, o, time.Now())
		if ok(u) {
			return u
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come true; readers %+v, unfollowed %+v", what, u.Readers, u.Unfollowed)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (u Usage) reader(pid int, path string) *logs.Reader {
	for i := range u.Readers {
		if u.Readers[i].PID == pid && u.Readers[i].Path == path {
			return &u.Readers[i]
		}
	}
	return nil
}

func (u Usage) alone(path string) *logs.Unfollowed {
	for i := range u.Unfollowed {
		if u.Unfollowed[i].Path == path {
			return &u.Unfollowed[i]
		}
	}
	return nil
}

// Real collectors: who follows what, how far behind, and since when one stands
// still.
func TestReadersForReal(t *testing.T) {
	privtest.Root(t)
	host := t.TempDir()
	pods := filepath.Join(host, "var/log/pods")
	logA, logB, logC := "/var/log/pods/"+disktest.PodA+"/0.log", "/var/log/pods/"+disktest.PodB+"/0.log", "/var/log/pods/"+disktest.PodB+"/1.log"
	disktest.Append(t, filepath.Join(host, logA), 1000)
	disktest.Append(t, filepath.Join(host, logB), 1000)

	conf := filepath.Join(host, "rsyslog.conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(`
module(load="imfile" mode="inotify")
global(workDirectory=%q)
input(type="imfile" File=%q Tag="pod")
*.* action(type="omfile" file=%q)
`, host, filepath.Join(pods, disktest.PodA, "*.log"), filepath.Join(host, "out"))), 0o600); err != nil {
		t.Fatal(err)
	}
	rsyslog := disktest.Start(t, "rsyslogd", "-n", "-f", conf, "-i", filepath.Join(host, "pid"))
	tail := disktest.Start(t, "tail", "-F", filepath.Join(host, logB))

	policy := DefaultPolicy()
	policy.Readers.StalledAfter = policy.Readers.StalledAfter / 120 // 1 s
	o := observer(t, host, policy)
	until(t, o, "both read to the end", func(u Usage) bool {
		a, b := u.reader(rsyslog.Process.Pid, logA), u.reader(tail.Process.Pid, logB)
		return a != nil && b != nil && a.Open && b.Open && b.Watched && a.LagBytes == 0 && b.LagBytes == 0 && len(u.Unfollowed) == 0
	})
	// One that has seen none of them on the way to the end, and knows no speed.
	o = observer(t, host, policy)
	u := observe(t, o, time.Now())
	if r := u.reader(rsyslog.Process.Pid, logA); r.Comm != "rsyslogd" || r.Log.Pod != "web-7d4b9" || *r.OffsetBytes != 1000 {
		t.Errorf("%+v", r)
	}

	// It stops reading while its log grows.
	disktest.Stop(t, rsyslog)
	disktest.Append(t, filepath.Join(host, logA), 777)
	u = until(t, o, "stalled", func(u Usage) bool {
		r := u.reader(rsyslog.Process.Pid, logA)
		return r != nil && r.StalledSince != nil
	})
	if r := u.reader(rsyslog.Process.Pid, logA); r.LagBytes != 777 || r.PredictedLossBytes == 0 {
		t.Errorf("%+v, want 777 bytes behind", r)
	}
	if a := u.Reading; a.Reason != ReasonStalled || !strings.Contains(a.Message, "web-7d4b9") {
		t.Errorf("%+v", a)
	}
	if err := rsyslog.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// imfile reads whole lines: give it the end of one.
	if err := appendLine(filepath.Join(host, logA)); err != nil {
		t.Fatal(err)
	}
	until(t, o, "moving again", func(u Usage) bool {
		r := u.reader(rsyslog.Process.Pid, logA)
		return r != nil && r.LagBytes == 0 && r.StalledSince == nil
	})

	// A container restarts; its new log is one that tail does not know. It
	// shows within the next pass.
	disktest.Append(t, filepath.Join(host, logC), 500)
	u = observe(t, o, time.Now())
	if x := u.alone(logC); x == nil || x.Container != "db" || x.SizeBytes != 500 {
		t.Errorf("unfollowed: %+v", u.Unfollowed)
	}
	disktest.Append(t, filepath.Join(host, logC), 11)
	if x := observe(t, o, time.Now()).alone(logC); x == nil || x.GrewBytes != 11 {
		t.Errorf("unfollowed: %+v", x)
	}
	late := time.Now().Add(time.Hour)
	if a := observe(t, o, late).Reading; a.Reason != ReasonUnfollowed || !strings.Contains(a.Message, "prod/db-0:db") {
		t.Errorf("%+v", a)
	}

	// The log is deleted, its reader keeps it.
	disktest.Append(t, filepath.Join(host, logB), 100_000)
	until(t, o, "tail has read it", func(u Usage) bool {
		r := u.reader(tail.Process.Pid, logB)
		return r != nil && r.LagBytes == 0
	})
	disktest.Stop(t, tail)
	if err := os.Remove(filepath.Join(host, logB)); err != nil {
		t.Fatal(err)
	}
	u = observe(t, o, time.Now())
	found := false
	for _, d := range u.Deleted {
		if d.Path == filepath.Join(host, logB) {
			found = true
			if d.Size != 101_000 || len(d.Holders) != 1 || d.Holders[0].PID != tail.Process.Pid || d.Holders[0].Writes || d.Holders[0].OffsetBytes != 101_000 {
				t.Errorf("%+v", d)
			}
		}
	}
	if !found {
		t.Errorf("deleted files: %+v", u.Deleted)
	}
}

func appendLine(path string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString("end\n"); err != nil {
		return err
	}
	return f.Close()
}

// A collector in a container sees /var/log somewhere else: files are known by
// device and inode.
func TestReaderInContainerForReal(t *testing.T) {
	privtest.Root(t)
	host, inside := t.TempDir(), t.TempDir()
	log := "/var/log/pods/" + disktest.PodA + "/0.log"
	disktest.Append(t, filepath.Join(host, log), 4711)
	tail := disktest.Start(t, "unshare", "--mount", "--propagation", "private", "sh", "-c", `mount --bind "$1" "$2" && exec tail -c +1 -F "$2/$3"`,
		"sh", filepath.Join(host, "var/log"), inside, "pods/"+disktest.PodA+"/0.log")
	o := observer(t, host, DefaultPolicy())
	u := until(t, o, "the reader in its mount namespace is seen", func(u Usage) bool {
		r := u.reader(tail.Process.Pid, log)
		return r != nil && r.Open && r.Watched && r.LagBytes == 0
	})
	if r := u.reader(tail.Process.Pid, log); *r.OffsetBytes != 4711 || r.Log.Pod != "web-7d4b9" || len(u.Unfollowed) != 0 {
		t.Errorf("%+v, unfollowed %+v", r, u.Unfollowed)
	}
}

// A process has a file of its own, in its own root, at the path of the log of another pod:
// sparse, so that it has much to read. It is no reader of that log, and adds no lag to it.
func TestFalseLogOfAnotherPodForReal(t *testing.T) {
	privtest.Root(t)
	host, inside := t.TempDir(), t.TempDir()
	log := "/var/log/pods/" + disktest.PodA + "/0.log"
	disktest.Append(t, filepath.Join(host, log), 4711)
	disktest.Append(t, filepath.Join(inside, strings.TrimPrefix(log, "/var/log")), 1)
	disktest.Must(t, os.Truncate(filepath.Join(inside, strings.TrimPrefix(log, "/var/log")), 1<<40))
	holder := disktest.Start(t, "unshare", "--mount", "--propagation", "private", "sh", "-c", `mount --bind "$1" /var/log && exec 3<"$2" && exec sleep 1000`, "sh", inside, log)
	shown := func() string {
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/3", holder.Process.Pid))
		return target
	}
	for began := time.Now(); shown() != log; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("the process shows %q, want %s", shown(), log)
		}
	}
	o := observer(t, host, DefaultPolicy())
	for now, end := time.Now(), time.Now().Add(time.Hour); now.Before(end); now = now.Add(20 * time.Minute) {
		u := observe(t, o, now)
		for _, r := range u.Readers {
			if r.PID == holder.Process.Pid {
				t.Fatalf("a file of its own makes it a reader: %+v", r)
			}
		}
		if u.Reading.Severity == Bad {
			t.Fatalf("a condition by it: %+v", u.Reading)
		}
	}
}

func newReclaimer(t testing.TB, root string, p Policy) *reclaim.Reclaimer {
	t.Helper()
	r, err := reclaim.New("/proc", root, p.ReclaimConfig())
	disktest.Must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}
