package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/openfiles"
)

// fakeOpenFiles has this process read one file, or fails.
type fakeOpenFiles struct {
	err    error
	file   string
	filter openfiles.Filter
}

func (f *fakeOpenFiles) OpenFiles(filter openfiles.Filter) (openfiles.Scan, error) {
	f.filter = filter
	var st unix.Stat_t
	if err := unix.Stat(f.file, &st); err != nil {
		return openfiles.Scan{}, err
	}
	return openfiles.Scan{
		Processes:    []openfiles.Process{{PID: 1 << 30, Start: 5, Comm: "collector"}},
		Files:        []openfiles.File{{FD: 3, Dev: st.Dev, Ino: st.Ino, OffsetBytes: 2, SizeBytes: 4, Links: 1}},
		AllProcesses: 77,
	}, f.err
}

// TestReadersSource: readers are from the source, and from /proc with a reason where it
// fails or the directories are not known yet.
func TestReadersSource(t *testing.T) {
	root := t.TempDir()
	log := filepath.Join(root, "var/log/app.log")
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, []byte("one\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	source := &fakeOpenFiles{file: log}
	o := observer(t, root, DefaultPolicy())
	now := time.Now()
	pass := func(want, reason string) Usage {
		t.Helper()
		now = now.Add(10 * time.Second)
		u := observe(t, o, now)
		if s := u.Scan.ReadersSource; s.ReadersFrom != want || !strings.Contains(s.ReadersReason, reason) || reason == "" && s.ReadersReason != "" {
			t.Errorf("got %+v, want %s because of %q", s, want, reason)
		}
		return u
	}
	pass(ReadersFromProcfs, "single pass")
	o.OpenFiles = source
	u := pass(ReadersFromKernel, "")
	if r := u.reader(1<<30, "/var/log/app.log"); r == nil || r.Comm != "collector" || r.OffsetBytes == nil || *r.OffsetBytes != 2 || u.Scan.Processes != 77 {
		t.Errorf("got %+v of %+v", r, u.Scan)
	}
	if len(source.filter.Below) == 0 || len(source.filter.Programs) == 0 {
		t.Errorf("the filter is %+v", source.filter)
	}
	source.err = errors.New("no CAP_BPF")
	u = pass(ReadersFromProcfs, "no CAP_BPF")
	if u.reader(1<<30, "/var/log/app.log") != nil || u.Scan.Processes == 77 {
		t.Errorf("readers of a source that failed: %+v", u.Readers)
	}
	source.err = nil
	pass(ReadersFromKernel, "")
}
