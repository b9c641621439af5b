package containerlog

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/workload"
)

// What is known of a log's readers, and when it is rotated.
func TestAssess(t *testing.T) {
	now := disktest.Epoch
	const size = 20 << 20
	reader := func(offset uint64) logdir.Opener {
		return logdir.Opener{PID: 9, Comm: "fluent-bit", OffsetBytes: offset}
	}
	stamp := func(at time.Time) unix.StatxTimestamp { return unix.StatxTimestamp{Sec: at.Unix()} }
	for name, c := range map[string]struct {
		openers   []logdir.Opener
		read      time.Duration // ago it was last seen to be read; 0: never
		over      time.Duration
		atime     time.Duration // ago
		wantState archive.ReadState
		wantWait  bool
	}{
		"a reader at the end":               {openers: []logdir.Opener{reader(size)}, wantState: archive.StateRead},
		"a reader behind":                   {openers: []logdir.Opener{reader(1)}, wantState: archive.StateUnread, wantWait: true},
		"one at the end, one behind":        {openers: []logdir.Opener{reader(size), reader(5)}, wantState: archive.StateUnread, wantWait: true},
		"pread, read lately":                {openers: []logdir.Opener{reader(0)}, wantState: archive.StateRead},
		"at 0, not read":                    {openers: []logdir.Opener{reader(0)}, atime: time.Hour, wantState: archive.StateUnread, wantWait: true},
		"its reader comes back":             {read: 30 * time.Second, wantState: archive.StateUnread, wantWait: true},
		"its reader was stuck elsewhere":    {read: 2 * time.Minute, over: time.Second, wantState: archive.StateUnread, wantWait: true},
		"its reader is stuck, kubelet late": {read: 2 * time.Minute, over: 21 * time.Second, wantState: archive.StateUnread},
		"never a reader":                    {over: 19 * time.Second, wantState: archive.StateUnknown, wantWait: true},
		"never a reader, kubelet late":      {over: 20 * time.Second, wantState: archive.StateUnknown},
		"forgotten after an hour":           {read: 2 * time.Hour, over: 20 * time.Second, wantState: archive.StateUnknown},
		"kubectl logs -f":                   {openers: []logdir.Opener{{Comm: "kubelet"}}, over: time.Second, wantState: archive.StateUnknown, wantWait: true},
		"kubectl logs -f at k3s":            {openers: []logdir.Opener{{Comm: "k3s-server"}}, over: time.Second, wantState: archive.StateUnknown, wantWait: true},
		"only its writer":                   {openers: []logdir.Opener{{Comm: "containerd-shim", Writes: true}}, over: time.Second, wantState: archive.StateUnknown, wantWait: true},
	} {
		l := &containerLog{over: now.Add(-c.over)}
		if c.read > 0 {
			l.read = now.Add(-c.read)
		}
		st := &unix.Statx_t{Size: size, Mtime: stamp(now), Atime: stamp(now.Add(-c.atime)), Btime: stamp(now.Add(-2 * time.Hour))}
		is := assess(c.openers, st, l, now)
		if wait := is.wait(l, 20*time.Second, now) > 0; is.state != c.wantState || wait != c.wantWait {
			t.Errorf("%s: state %d, waits %t", name, is.state, wait)
		}
	}
}

// A collector that is stuck, and a disk that is short: what its container may take stays
// unread, the oldest beyond that goes, and each byte of it is counted. Before the disk is
// short all of it stays.
func TestUnreadIsBounded(t *testing.T) {
	root := t.TempDir()
	_, file := disktest.PodLog(t, root, "web")
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes, k.LogMaxFiles = 1<<20, 5
	b, err := New("/proc", root, k, time.Hour, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	disktest.Must(t, err)
	defer b.Close()
	now := time.Now()
	disktest.Must(t, os.WriteFile(file, make([]byte, 2<<20), 0o640))
	stuck, end := disktest.HoldOpen(t, file)
	defer end()
	_, err = stuck.Seek(1, io.SeekStart)
	disktest.Must(t, err)
	var written, lost uint64 = 2 << 20, 0
	pass := func(pressed bool) {
		t.Helper()
		now = now.Add(time.Second)
		for _, a := range append(b.Pass(t.Context(), pressed, now), b.FinishRotations(t.Context(), now)...) {
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			lost += a.Unread
		}
	}
	there := func() (n int, bytes uint64) {
		all, err := filepath.Glob(file + "*")
		disktest.Must(t, err)
		for _, p := range all {
			st, err := os.Stat(p)
			disktest.Must(t, err)
			bytes += uint64(st.Size())
		}
		return len(all), bytes
	}
	pass(true)
	for range 20 {
		disktest.Must(t, os.WriteFile(file, make([]byte, 1<<20), 0o640))
		written += 1 << 20
		now = now.Add(time.Minute) // longer than its reader is waited for
		pass(true)
		pass(true)
	}
	n, bytes := there()
	if bytes > 7<<20 || lost == 0 || lost+bytes != written {
		t.Errorf("%d files with %d bytes are left, %d counted as lost, of %d written", n, bytes, lost, written)
	}
	if _, err := stuck.Stat(); err != nil {
		t.Error(err)
	}
	was := lost
	for range 5 { // not short any more: the kubelet is late each time
		disktest.Must(t, os.WriteFile(file, make([]byte, 1<<20), 0o640))
		pass(false)
		now = now.Add(b.late)
		pass(false)
	}
	if m, _ := there(); lost != was || m != n+4 && m != n+5 {
		t.Errorf("%d files, %d were there, %d bytes lost", m, n, lost-was)
	}
}

// Where the readers could not be found in time, a log waits, unless the disk is short: who
// owns many descriptors does not fill the disk by that.
func TestReadersUnknown(t *testing.T) {
	root := t.TempDir()
	_, file := disktest.PodLog(t, root, "web")
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes = 1 << 20
	b, err := New("/proc", root, k, time.Hour, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	disktest.Must(t, err)
	defer b.Close()
	disktest.Must(t, os.WriteFile(file, make([]byte, 2<<20), 0o640))
	slow := disktest.Epoch
	b.host.Clock = func() time.Time { slow = slow.Add(time.Hour); return slow }
	now := time.Now()
	acts := b.Pass(t.Context(), false, now)
	if len(acts) != 1 || !errors.Is(acts[0].Err, logdir.ErrOpenersUnknown) {
		t.Errorf("the disk is not short: %+v", acts)
	}
	if all, err := filepath.Glob(file + "*"); err != nil || len(all) != 1 {
		t.Errorf("the disk is not short: %q, %v", all, err)
	}
	acts = b.Pass(t.Context(), true, now.Add(time.Second))
	if len(acts) != 1 || acts[0].Err != nil {
		t.Errorf("the disk is short: %+v", acts)
	}
	if all, err := filepath.Glob(file + ".*"); err != nil || len(all) != 1 {
		t.Errorf("the disk is short: %q, %v", all, err)
	}
}

// However many logs are due, a walk of /proc serves all of them, and walks take a bounded
// share of a core.
func TestOneWalkForAllLogs(t *testing.T) {
	var w walkBudget
	now, walks := disktest.Epoch, 0
	const took = 70 * time.Millisecond // 57,000 descriptors
	for range 4 * 600 {
		now = now.Add(PollInterval)
		if w.allow(now) {
			walks++
			w.spend(took)
		}
	}
	if share := (time.Duration(walks)*took - walkCredit).Seconds() / 600; share > 0.03 {
		t.Errorf("%d walks in ten minutes: %.3f of a core", walks, share)
	}
	if walks < 100 {
		t.Errorf("%d walks in ten minutes", walks)
	}
}
