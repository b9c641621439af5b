package disk

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// Core dumps where core_pattern says are seen, and go when they are old; what is
// only called so stays.
func TestCoreDumps(t *testing.T) {
	proc, root := t.TempDir(), t.TempDir()
	disktest.Must(t, os.MkdirAll(filepath.Join(proc, "sys/kernel"), 0o755))
	disktest.WriteFile(t, filepath.Join(proc, "sys/kernel/core_pattern"), "/var/cores/core.%e.%p\n")
	disktest.Must(t, os.MkdirAll(filepath.Join(proc, "self"), 0o755))
	disktest.WriteFile(t, filepath.Join(proc, "self/mountinfo"), disktest.ReadFile(t, "/proc/self/mountinfo"))
	cores := filepath.Join(root, "var/cores")
	disktest.Must(t, os.MkdirAll(cores, 0o755))
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "var/log"), 0o755))
	old := time.Now().Add(-48 * time.Hour)
	dump := func(name string, kind elf.Type, at time.Time) {
		head := make([]byte, 1<<20)
		copy(head, elf.ELFMAG)
		head[elf.EI_CLASS], head[elf.EI_DATA] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB)
		binary.LittleEndian.PutUint16(head[16:], uint16(kind))
		disktest.Must(t, os.WriteFile(filepath.Join(cores, name), head, 0o600))
		disktest.Must(t, os.Chtimes(filepath.Join(cores, name), at, at))
	}
	dump("core.web.1", elf.ET_CORE, old)
	dump("core.web.2", elf.ET_CORE, time.Now())
	dump("core.dll.so", elf.ET_DYN, old)
	dump("other.web.1", elf.ET_CORE, old)
	disktest.Must(t, os.WriteFile(filepath.Join(cores, "core.notes.txt"), bytes.Repeat([]byte("x"), 1<<20), 0o600))
	disktest.Must(t, os.Chtimes(filepath.Join(cores, "core.notes.txt"), old, old))
	disktest.Must(t, os.Symlink("other.web.1", filepath.Join(cores, "core.link.1")))
	disktest.Must(t, unix.Mkfifo(filepath.Join(cores, "core.fifo.1"), 0o600))

	p := DefaultPolicy()
	p.Reclaim.Classes = []reclaim.Class{reclaim.ClassCores}
	r, err := reclaim.New(proc, root, p.ReclaimConfig())
	disktest.Must(t, err)
	defer r.Close()
	o, err := New(proc, "/sys", root, p)
	disktest.Must(t, err)
	defer o.Close()
	if got := o.cores(time.Now()); len(got) != 1 || got[0].Files != 2 || got[0].Bytes < 2<<20 || got[0].Path != "/var/cores" {
		t.Errorf("seen: %+v", got)
	}
	space, err := filesystem.Stat(hostfs.Root(disktest.OpenRoot(t, root)), "/var/log")
	disktest.Must(t, err)
	got, err := r.Reclaim(t.Context(), "/var/log", filesystem.Goal{AvailBytes: space.SizeBytes}, Usage{}.ReclaimInput(), false, time.Now(), nil)
	disktest.Must(t, err)
	did := ""
	for _, a := range got.Acts {
		did += fmt.Sprintln(a.Verb, a.Path, a.Err)
	}
	if did != "remove /var/cores/core.web.1 <nil>\n" {
		t.Errorf("did:\n%s", did)
	}
	if left := disktest.List(t, cores); len(left) != 6 {
		t.Errorf("left: %v", left)
	}
}
