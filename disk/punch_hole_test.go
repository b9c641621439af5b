package disk

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/filesystem"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/disk/reclaim"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/privtest"
)

// Of a deleted log that is still read, what has been read goes and the rest
// stays byte for byte.
func TestPunchDeletedForReal(t *testing.T) {
	privtest.Root(t)
	if !disktest.EveryProcessSeen(t) {
		return
	}
	root, policy := disktest.LogDisk(t, 200<<20), DefaultPolicy()
	policy.Reclaim.Classes = []reclaim.Class{reclaim.ClassDeleted}
	file := filepath.Join(root, "var/log/app.log")
	var content bytes.Buffer
	for i := 0; content.Len() < 60<<20; i++ {
		fmt.Fprintf(&content, "%09d\n", i)
	}
	disktest.Must(t, os.WriteFile(file, content.Bytes(), 0o640))
	reader, err := os.Open(file)
	disktest.Must(t, err)
	t.Cleanup(func() { reader.Close() })
	disktest.Must(t, os.Remove(file))
	const read = 41 << 20
	_, err = io.CopyN(io.Discard, reader, read)
	disktest.Must(t, err)
	pos, err := reader.Seek(0, io.SeekCurrent)
	disktest.Must(t, err)

	o := observer(t, root, policy)
	u := observe(t, o, time.Now())
	if len(u.Deleted) != 1 {
		t.Fatalf("deleted: %+v", u.Deleted)
	}
	// As it looks where /var/log is the host's.
	u.Deleted[0].Path = "/var/log/app.log"
	r := newReclaimer(t, root, policy)
	before, err := filesystem.Stat(hostfs.Root(disktest.OpenRoot(t, root)), "/var/log")
	disktest.Must(t, err)
	got, err := r.Reclaim(t.Context(), "/var/log", filesystem.Goal{AvailBytes: before.SizeBytes}, u.ReclaimInput(), false, time.Now(), nil)
	disktest.Must(t, err)
	if len(got.Acts) != 1 || got.Acts[0].Err != nil || got.Freed < 39<<20 || got.Freed > 40<<20 {
		t.Errorf("%+v", got)
	}
	rest, err := io.ReadAll(reader)
	disktest.Must(t, err)
	if sha256.Sum256(rest) != sha256.Sum256(content.Bytes()[pos:]) {
		t.Error("the reader did not get what it had not read yet")
	}

	// Mapped somewhere, an offset says nothing.
	m, err := unix.Mmap(int(reader.Fd()), 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
	disktest.Must(t, err)
	t.Cleanup(func() { _ = unix.Munmap(m) })
	u = observe(t, o, time.Now())
	u.Deleted[0].Path = "/var/log/app.log"
	got, err = r.Reclaim(t.Context(), "/var/log", filesystem.Goal{AvailBytes: before.SizeBytes}, u.ReclaimInput(), false, time.Now(), nil)
	disktest.Must(t, err)
	for _, a := range got.Acts {
		if a.Verb != logdir.ActionSkip {
			t.Errorf("a mapped file: %+v", a)
		}
	}
}
