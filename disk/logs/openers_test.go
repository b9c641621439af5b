package logs

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/openfiles"
	"github.com/nodetune/nodetune/internal/procwalk"
	"github.com/nodetune/nodetune/internal/workload"
)

// noProcess is a pid that no process has: pid_max is 4194304 at most.
const noProcess = 1 << 30

// snapshotOf fills a snapshot from a scan, as if the log of oneLog were known.
func snapshotOf(t *testing.T, scan openfiles.Scan) *ProcSnapshot {
	t.Helper()
	w, err := procwalk.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	f := NewReaderTracker(time.Hour)
	f.known[logInode] = &knownLog{path: appDir + "/0.log", kind: KindContainer}
	s := f.NewSnapshot(workload.NewIndex(t.TempDir()))
	s.Procfs = "/proc"
	s.Add(scan, w)
	return s
}

// TestAddJoinsDescriptors: a process has one opening of a file and direction, whatever
// the number and order of its descriptors.
func TestAddJoinsDescriptors(t *testing.T) {
	file := func(process, fd int, pos uint64, flags int) openfiles.File {
		return openfiles.File{Process: process, FD: fd, Dev: logInode.Dev, Ino: logInode.Ino, OffsetBytes: pos, SizeBytes: 100, Links: 1, Flags: flags}
	}
	s := snapshotOf(t, openfiles.Scan{
		Processes: []openfiles.Process{
			{PID: noProcess, Start: 7, Comm: "fluent-bit"},
			{PID: noProcess + 1, Start: 8, Comm: "vector", Terminal: true},
			{PID: noProcess + 2, Start: 9, Comm: "kubelet"},
		},
		Files: []openfiles.File{
			file(0, 5, 50, unix.O_RDONLY), file(1, 3, 1, unix.O_RDONLY), file(0, 9, 20, unix.O_RDONLY|unix.O_CLOEXEC),
			file(0, 6, 0, unix.O_WRONLY|unix.O_APPEND), file(0, 7, 70, unix.O_RDONLY), file(2, 3, 4, unix.O_RDONLY),
		},
		Instances:       []openfiles.Instance{{Process: 1, Watches: []openfiles.Watch{{SDev: 1, Ino: 2}}}},
		OmittedFiles:    3,
		UnreadInstances: 2,
	})
	got := ""
	for _, o := range s.openings {
		got += fmt.Sprintf("%s %d access %d at %d..%d interactive %t kubelet %t\n", o.comm, o.start, o.access, o.least, o.pos, o.interactive, o.kubelet)
	}
	const want = `fluent-bit 7 access 0 at 20..70 interactive false kubelet false
fluent-bit 7 access 1 at 0..0 interactive false kubelet false
vector 8 access 0 at 1..1 interactive true kubelet false
kubelet 9 access 0 at 4..4 interactive false kubelet true
`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if len(s.watches) != 1 || s.watches[0].comm != "vector" || s.Unread != 2 || s.Omitted[OmittedOpenings] != 3 {
		t.Errorf("watches %+v, unread %d, omitted %v", s.watches, s.Unread, s.Omitted)
	}
	if s.Kubelet.Pid != 0 {
		t.Errorf("a process that procfs does not show is the kubelet: %+v", s.Kubelet)
	}
}

// TestAddDeleted: what stat(2) shows of a deleted file counts. A process that has the pid
// of another one by now shows nothing, and a known log needs no procfs.
func TestAddDeleted(t *testing.T) {
	path := t.TempDir() + "/gone.log"
	if err := os.WriteFile(path, make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w, err := procwalk.New("/proc")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	self, err := w.Open(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	st, err := self.Stat()
	start := uint64(0)
	if err == nil {
		start = st.Start
	}
	self.Close()
	if err != nil {
		t.Fatal(err)
	}
	file := openfiles.File{FD: int(f.Fd()), Dev: 99, Ino: 2, SizeBytes: 1}
	for name, c := range map[string]struct {
		process openfiles.Process
		file    openfiles.File
		want    int
	}{
		"of this process":         {openfiles.Process{PID: os.Getpid(), Start: start}, file, 1},
		"of another process":      {openfiles.Process{PID: os.Getpid(), Start: start + 1}, file, 0},
		"of a process that ended": {openfiles.Process{PID: noProcess, Start: start}, file, 0},
		"a known log":             {openfiles.Process{PID: noProcess, Start: start}, openfiles.File{Dev: logInode.Dev, Ino: logInode.Ino}, 1},
	} {
		s := snapshotOf(t, openfiles.Scan{Processes: []openfiles.Process{c.process}, Files: []openfiles.File{c.file}})
		if len(s.openings) != c.want {
			t.Errorf("%s: %d openings, want %d", name, len(s.openings), c.want)
			continue
		}
		if name == "of this process" {
			o := s.openings[0]
			if o.path != path || o.size != 5000 || o.blocks == 0 || o.file == (hostfs.Inode{Dev: 99, Ino: 2}) {
				t.Errorf("%s: got %+v, want what stat(2) shows of %s", name, o, path)
			}
		}
	}
}

// TestAddIsBounded: a node with more open files than a snapshot has room for keeps the
// known logs, counts the others, and looks up a bounded number of paths.
func TestAddIsBounded(t *testing.T) {
	scan := openfiles.Scan{Processes: []openfiles.Process{{PID: noProcess, Comm: "many"}, {PID: noProcess + 1, Comm: "collector"}}}
	for i := range 2 * maxOpenings {
		scan.Files = append(scan.Files, openfiles.File{FD: i, Dev: 77, Ino: uint64(i), Links: uint32(i % 2)})
	}
	scan.Files = append(scan.Files, openfiles.File{Process: 1, FD: 3, Dev: logInode.Dev, Ino: logInode.Ino, Links: 1})
	s := snapshotOf(t, scan)
	last := s.openings[len(s.openings)-1]
	if len(s.openings) > maxOpenings+1 || last.comm != "collector" || s.Omitted[OmittedOpenings] == 0 || s.lookups > maxLookups+1 {
		t.Errorf("%d openings, the last of %s, %d omitted, %d lookups", len(s.openings), last.comm, s.Omitted[OmittedOpenings], s.lookups)
	}
}

// TestOpenFilesFilter: directories of file systems whose numbers are not those of stat(2)
// are refused with a reason.
func TestOpenFilesFilter(t *testing.T) {
	if _, err := OpenFilesFilter(nil, nil); err == nil {
		t.Error("no trees are accepted")
	}
	trees := oneLog(1000, disktest.Epoch, disktest.Epoch)
	if _, err := OpenFilesFilter(trees, nil); err == nil {
		t.Error("a tree on an unknown mount is accepted")
	}
	if all := WantedPrograms(); len(all) > 8 {
		t.Errorf("%d programs are more than a walk compares with", len(all))
	}
}
