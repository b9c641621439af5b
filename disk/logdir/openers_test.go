package logdir

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/procwalk"
)

// A user who watches with kubectl logs -f delays no rotation. A process of a pod that
// calls itself kubelet is a reader like any other.
func TestBehindPassesOverTheKubelet(t *testing.T) {
	k := Opener{Comm: "kubelet"}
	if _, ok := FurthestBehind([]Opener{k}, 10<<20, 0); ok {
		t.Error("the kubelet is waited for")
	}
	k.Who.PodUID = "11111111-2222-3333-4444-555555555555"
	if _, ok := FurthestBehind([]Opener{k}, 10<<20, 0); !ok {
		t.Error("a pod is taken for the kubelet")
	}
}

// A process that has the log open more than once is where it reads: a descriptor at
// the head, with which it knew the file again, hides no progress. Of two that read,
// the slower one counts. Nothing is punched above the least.
func TestAddOffset(t *testing.T) {
	for _, tt := range []struct {
		name        string
		offsets     []uint64
		want, least uint64
	}{
		{"one", []uint64{7000}, 7000, 7000},
		{"rsyslog", []uint64{512, 541_800}, 541_800, 512},
		{"rsyslog, the other way round", []uint64{541_800, 512}, 541_800, 512},
		{"rsyslog at its first lines", []uint64{512, 630}, 630, 512},
		{"two inputs", []uint64{900_000, 5000}, 5000, 5000},
		{"two inputs and a head", []uint64{512, 900_000, 0, 50_000}, 50_000, 0},
		{"all at the start", []uint64{0, 0}, 0, 0},
	} {
		o := Opener{OffsetBytes: tt.offsets[0], LeastOffsetBytes: tt.offsets[0]}
		for _, offset := range tt.offsets[1:] {
			o.addOffset(offset)
		}
		if o.OffsetBytes != tt.want || o.LeastOffsetBytes != tt.least {
			t.Errorf("%s: reads at %d, least %d; want %d, %d", tt.name, o.OffsetBytes, o.LeastOffsetBytes, tt.want, tt.least)
		}
	}
}

// A process that has a file open a thousand times costs no more than one that has it open
// some times, and is where the slowest of all its descriptors reads.
func TestManyDescriptorsOfAnOpener(t *testing.T) {
	name := filepath.Join(t.TempDir(), "app.log")
	disktest.WriteFile(t, name, strings.Repeat("x", 100_000))
	cmd := exec.Command("sleep", "1000")
	for i := range 10 * maxOpenerFDs {
		f, err := os.Open(name)
		disktest.Must(t, err)
		defer f.Close()
		_, err = f.Seek(int64(90_000-10*i), io.SeekStart)
		disktest.Must(t, err)
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	disktest.Must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	w, err := procwalk.New("/proc")
	disktest.Must(t, err)
	defer func() { _ = w.Close() }()
	var st unix.Stat_t
	disktest.Must(t, unix.Stat(name, &st))
	at := hostfs.Inode{Dev: st.Dev, Ino: st.Ino}
	all, err := openers(t.Context(), w, nil, "app.log", at)
	disktest.Must(t, err)
	if len(all[at]) != 1 {
		t.Fatalf("%d openers, want 1", len(all[at]))
	}
	o := all[at][0]
	if least := uint64(90_000 - 10*(10*maxOpenerFDs-1)); len(o.fds) != maxOpenerFDs || o.LeastOffsetBytes != least {
		t.Errorf("%d descriptors are kept, the least reads at %d; want %d, %d", len(o.fds), o.LeastOffsetBytes, maxOpenerFDs, least)
	}
}

// A walk that takes longer than it may says nothing of any log, and the next one comes
// a minute later: who owns many descriptors does not hold up the others for long.
func TestOpenersInTime(t *testing.T) {
	root := t.TempDir()
	name := filepath.Join(root, "app.log")
	disktest.WriteFile(t, name, "a line\n")
	disktest.HoldOpen(t, name)
	h, err := OpenHost("/proc", root, []string{"/"})
	disktest.Must(t, err)
	defer func() { _ = h.Close() }()
	var st unix.Stat_t
	disktest.Must(t, unix.Stat(name, &st))
	at := hostfs.Inode{Dev: st.Dev, Ino: st.Ino}
	now, step := disktest.Epoch, time.Duration(0)
	h.Clock = func() time.Time { now = now.Add(step); return now }
	for _, c := range []struct {
		name  string
		after time.Duration // since the call before
		step  time.Duration // of the clock with each look
		want  error
	}{
		{"in time", 0, 0, nil},
		{"too slow", time.Second, walkWithin + 1, ErrOpenersUnknown},
		{"soon after that", time.Second, 0, ErrOpenersUnknown},
		{"a minute later", walkAgain, 0, nil},
		{"too slow again", time.Second, walkWithin + 1, ErrOpenersUnknown},
		{"after the clock was set back", -time.Hour, 0, nil},
	} {
		now, step = now.Add(c.after), c.step
		all, err := h.Openers(t.Context(), "app.log", at)
		if !errors.Is(err, c.want) || (len(all[at]) == 1) != (c.want == nil) {
			t.Errorf("%s: %d openers, %v; want %v", c.name, len(all[at]), err, c.want)
		}
	}
}
