package containerlog

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/rotate"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/workload"
)

// A log whose reader has not opened its new file yet, or is behind in it, is not
// rotated before the disk is short; and then what it has not read stays.
func TestBurstsKeepWhatIsUnread(t *testing.T) {
	root := t.TempDir()
	_, file := disktest.PodLog(t, root, "web")
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes, k.LogMaxFiles = 4<<20, 2
	b, err := New("/proc", root, k, 0, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	disktest.Must(t, err)
	defer func() { disktest.Must(t, b.Close()) }()
	write := func() { disktest.Must(t, os.WriteFile(file, make([]byte, k.LogMaxSizeBytes), 0o640)) }
	now := time.Now()
	pass := func(pressed bool) int {
		t.Helper()
		now = now.Add(2 * time.Second)
		acts := b.Pass(t.Context(), pressed, now)
		for _, a := range acts {
			if a.Err != nil {
				t.Fatal(a.Err)
			}
		}
		return len(acts)
	}
	archives := func() int {
		all, err := filepath.Glob(file + ".*")
		disktest.Must(t, err)
		return len(all)
	}
	write()
	reader, end := disktest.HoldOpen(t, file)
	if n := pass(false); n != 0 {
		t.Error("rotated though its reader has not begun")
	}
	_, err = reader.Seek(0, io.SeekEnd)
	disktest.Must(t, err)
	if n := pass(false); n != 1 {
		t.Error("not rotated, and its reader is at the end")
	}
	write()
	if n := pass(false); n != 0 {
		t.Error("rotated though its reader has not opened the new file")
	}
	end()
	if n := pass(false); n != 0 {
		t.Error("rotated while its reader may be about to open the new file")
	}
	for range 3 {
		write()
		if n := pass(true); n != 1 {
			t.Error("not rotated, and the disk is short")
		}
	}
	for range 3 {
		b.FinishRotations(t.Context(), now)
	}
	if n := archives(); n != 3 {
		t.Errorf("%d archives are left, want the 3 that no process has read", n)
	}
	write()
	now = now.Add(followedFor)
	if n := pass(false); n != 0 {
		t.Error("rotated before the kubelet would, and no reader is seen")
	}
	now = now.Add(b.late)
	if n := pass(false); n != 1 {
		t.Error("not rotated, and the kubelet is late")
	}
	// A run to come knows it, too, also of those that are compressed.
	b.FinishRotations(t.Context(), now)
	disktest.Must(t, b.Close())
	b, err = New("/proc", root, k, 0, b.runtime)
	disktest.Must(t, err)
	for range 3 {
		write()
		pass(true)
		b.FinishRotations(t.Context(), now)
	}
	if n := archives(); n != 5 {
		t.Errorf("%d archives are left, want the 4 that were not read, and the last", n)
	}
}

// While the disk is short the kubelet never finds a log that is over its limit: it
// would remove archives by their number, read or not.
func TestBurstsKeepAheadOfTheKubelet(t *testing.T) {
	root := t.TempDir()
	_, file := disktest.PodLog(t, root, "web")
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes = 4 << 20
	b, err := New("/proc", root, k, 0, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	disktest.Must(t, err)
	defer b.Close()
	now := time.Now()
	for i, look := range []struct {
		mib     int64
		pressed bool
		want    int
	}{
		{3, true, 0},  // how fast it grows is not known yet
		{3, true, 0},  // it does not
		{7, false, 0}, // it is over the limit, and the kubelet will look
		{1, true, 0},
		{2, true, 0},
		{3, true, 1}, // it will have four at the next look
		{3, false, 0},
	} {
		disktest.Must(t, os.WriteFile(file, nil, 0o640))
		disktest.Must(t, os.Truncate(file, look.mib<<20))
		now = now.Add(PollInterval)
		if acts := b.Pass(t.Context(), look.pressed, now); len(acts) != look.want {
			t.Errorf("look %d: %+v, want %d rotations", i, acts, look.want)
		}
	}
}

// The kubelet compresses or removes an archive while they are looked at: that
// shows nothing of the others.
func TestLearnWhileTheKubeletRotates(t *testing.T) {
	root := t.TempDir()
	rel, file := disktest.PodLog(t, root, "web")
	disktest.WriteFile(t, file+".20260131-120000000001", "unread\n")
	disktest.WriteFile(t, file+".20260131-120000000002.gz", "unread\n")
	h, err := logdir.OpenHost("/proc", root, []string{"/var/log"})
	disktest.Must(t, err)
	defer h.Close()
	d, err := h.Open(filepath.Dir(rel))
	disktest.Must(t, err)
	defer d.Close()
	names, err := d.Names()
	disktest.Must(t, err)
	all := archive.List("0.log", append(names, "0.log.20260131-110000000000"))
	f := newReadStates()
	for _, a := range all {
		f.set(filepath.Join(d.Path, a.Name), archive.StateUnread)
	}
	disktest.Must(t, newFinisher(h, rotate.Options{}, f).refreshReadStates(t.Context(), d, "0.log", all, time.Now()))
	for _, a := range all {
		if a.State != archive.StateUnread {
			t.Errorf("the fate of %s is %d", a.Name, a.State)
		}
	}
	if got := rotate.Expired(all, rotate.Options{Archives: 1, KeepSize: 1}, time.Now()); len(got) != 0 {
		t.Errorf("%+v go, and no process has read them", got)
	}
}

// What the kubelet rotates under a reader stays until a reader has read it to its
// end. (Nothing is compressed for hours here.)
func TestBurstsLearnWhatIsRead(t *testing.T) {
	root := t.TempDir()
	_, file := disktest.PodLog(t, root, "web")
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes, k.LogMaxFiles, k.Zone = 4<<20, 2, time.UTC
	b, err := New("/proc", root, k, time.Hour, func(context.Context, workload.Log, string) (Runtime, error) {
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	disktest.Must(t, err)
	defer b.Close()
	b.finisher.how.KeepSize = 1 << 30 // the number decides
	now := time.Now().UTC()
	pass := func(pressed bool) {
		t.Helper()
		now = now.Add(2 * time.Second)
		for _, a := range b.Pass(t.Context(), pressed, now) {
			if a.Err != nil {
				t.Error(a.Err)
			}
		}
		b.FinishRotations(t.Context(), now)
	}
	write := func() { disktest.Must(t, os.WriteFile(file, make([]byte, k.LogMaxSizeBytes), 0o640)) }
	theirs := ""
	there := func() bool {
		all, err := filepath.Glob(file + ".2*")
		disktest.Must(t, err)
		return slices.ContainsFunc(all, func(p string) bool { return strings.HasPrefix(p, theirs) })
	}
	write()
	_, end := disktest.HoldOpen(t, file)
	pass(false) // sees that it is read, and waits
	end()
	theirs = file + "." + now.Format(archive.KubeletLayout)
	disktest.Must(t, os.Rename(file, theirs))
	for range 3 {
		write()
		pass(true) // ours, and newer
	}
	if !there() {
		t.Fatal("removed, and no process has read it to its end")
	}
	reader, end := disktest.HoldOpen(t, theirs)
	_, err = reader.Seek(0, io.SeekEnd)
	disktest.Must(t, err)
	write()
	pass(true)
	end()
	write()
	pass(true)
	if there() {
		t.Error("kept, though its reader was at the end and there are too many")
	}
}

// The log of a pod that has just come is rotated before the logs would be listed
// again: in ten seconds it can have 200 MB.
func TestBurstsSeeNewPods(t *testing.T) {
	root := t.TempDir()
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "var/log/pods"), 0o755))
	k := hostconfig.DefaultKubelet()
	k.LogMaxSizeBytes = 4 << 10
	b, err := New("/proc", root, k, 0, func(_ context.Context, l workload.Log, _ string) (Runtime, error) {
		if l.Container == "ended" {
			return Runtime{}, os.ErrNotExist
		}
		return Runtime{Reopen: func(context.Context) error { return nil }}, nil
	})
	disktest.Must(t, err)
	defer b.Close()
	now := time.Now()
	b.Pass(t.Context(), false, now)
	b.Collected = true
	_, late := disktest.PodLog(t, root, "late") // a collector looks for it every minute, too
	disktest.WriteFile(t, late, strings.Repeat("x", 5<<10))
	for range 3 {
		now = now.Add(followedFor / 4)
		if acts := b.Pass(t.Context(), false, now); len(acts) != 0 {
			t.Errorf("%+v, and no collector has found the log yet", acts)
		}
	}
	now = now.Add(followedFor / 2)
	if acts := b.Pass(t.Context(), false, now); len(acts) != 1 {
		t.Errorf("%+v, want the log rotated that no collector wants", acts)
	}
	b.Collected = false
	for _, name := range []string{"new", "ended"} {
		_, file := disktest.PodLog(t, root, name)
		disktest.WriteFile(t, file, strings.Repeat("x", 5<<10))
	}
	// A first look lists at once, since the directory has changed; the pods'
	// own directories may come after that.
	acts := b.Pass(t.Context(), true, now.Add(relistSoon))
	if len(acts) != 1 || acts[0].Err != nil || !strings.Contains(acts[0].Path, "/new/") {
		t.Errorf("%+v, want the new pod's log rotated, and no report of the one that has ended", acts)
	}
}
