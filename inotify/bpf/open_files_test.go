package bpf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/openfiles"
	"github.com/nodetune/nodetune/internal/privtest"
)

// below returns the filter of one directory.
func below(t testing.TB, dir string) openfiles.Filter {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	return openfiles.Filter{Below: []openfiles.Directory{{Dev: st.Dev, Ino: st.Ino}}}
}

// eachWalk runs a test with each way to iterate over the tasks.
func eachWalk(t *testing.T, run func(t *testing.T, w *Walk)) {
	t.Helper()
	privtest.Root(t)
	for name, w := range walks(t) {
		t.Run(name, func(t *testing.T) { run(t, w) })
	}
}

// ownFiles returns the files of this process by descriptor.
func ownFiles(s openfiles.Scan) map[int]openfiles.File {
	files := map[int]openfiles.File{}
	for _, f := range s.Files {
		if s.Processes[f.Process].PID == os.Getpid() {
			files[f.FD] = f
		}
	}
	return files
}

// TestOpenFiles: a walk finds the regular files below the directory and the deleted
// ones, with their offsets, and no other files.
func TestOpenFiles(t *testing.T) { eachWalk(t, testOpenFiles) }

func testOpenFiles(t *testing.T, w *Walk) {
	dir, other := t.TempDir(), t.TempDir()
	deep := filepath.Join(dir, "pods/a_b_c/container")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(path string) string {
		if err := os.WriteFile(path, []byte("0123456789"), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := func(path string, flags int) int {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	read := open(write(filepath.Join(deep, "0.log")), unix.O_RDONLY)
	if _, err := unix.Seek(read, 7, 0); err != nil {
		t.Fatal(err)
	}
	top := open(write(filepath.Join(dir, "app.log")), unix.O_WRONLY|unix.O_APPEND)
	linked := filepath.Join(other, "link.log") // the file has a name elsewhere, too
	if err := os.Link(filepath.Join(dir, "app.log"), linked); err != nil {
		t.Fatal(err)
	}
	gone := open(write(filepath.Join(other, "gone.log")), unix.O_RDONLY)
	if err := os.Remove(filepath.Join(other, "gone.log")); err != nil {
		t.Fatal(err)
	}
	left := []int{
		open(write(filepath.Join(other, "other.log")), unix.O_RDONLY),
		open(dir, unix.O_RDONLY|unix.O_DIRECTORY),
		open(filepath.Join(deep, "0.log"), unix.O_PATH),
		open("/dev/null", unix.O_RDONLY),
	}
	memory, err := unix.MemfdCreate("nodetune-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memory)
	left = append(left, memory)

	s, err := w.OpenFiles(below(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	if s.OmittedFiles > 0 || s.AllProcesses < 2 {
		t.Errorf("got %+v", s)
	}
	files := ownFiles(s)
	for fd, want := range map[int]openfiles.File{
		read: {OffsetBytes: 7, Links: 1},
		top:  {Links: 2, Flags: unix.O_WRONLY},
		gone: {},
	} {
		f, ok := files[fd]
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			t.Fatal(err)
		}
		if !ok || f.Ino != st.Ino || f.Dev != st.Dev || f.SizeBytes != 10 || f.Links != want.Links ||
			f.OffsetBytes != want.OffsetBytes || f.Flags&unix.O_ACCMODE != want.Flags || f.Atime.UnixNano() != st.Atim.Nano() {
			t.Errorf("descriptor %d: got %+v, %v\nof %+v", fd, f, ok, st)
		}
	}
	for _, fd := range left {
		if f, ok := files[fd]; ok {
			t.Errorf("descriptor %d is no file below the directory: %+v", fd, f)
		}
	}
	for _, p := range s.Processes {
		if p.PID != os.Getpid() {
			continue
		}
		if p.Comm != "bpf.test" || p.Start == 0 {
			t.Errorf("got %+v", p)
		}
	}
	// A walk for instances reports no files.
	if _, err := w.Holders(); err != nil || len(w.found.files) > 0 {
		t.Errorf("%d files, %v", len(w.found.files), err)
	}
}

// TestOpenFilesParts: a walk that needs several parts finds each file once.
func TestOpenFilesParts(t *testing.T) { eachWalk(t, testOpenFilesParts) }

func testOpenFilesParts(t *testing.T, w *Walk) {
	dir := t.TempDir()
	const files = 6000 // more than one part has room for
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: max(was.Cur, files+500), Max: max(was.Max, files+500)}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }()
	want := map[int]bool{}
	for i := range files {
		fd, err := unix.Open(filepath.Join(dir, fmt.Sprint(i%100, ".log")), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		want[fd] = true
		defer unix.Close(fd)
	}
	for range 2 { // the first walk finds the plan
		s, err := w.OpenFiles(below(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		seen := map[int]bool{}
		for _, f := range s.Files {
			if s.Processes[f.Process].PID == os.Getpid() && want[f.FD] {
				n++
				seen[f.FD] = true
			}
		}
		if n != files || len(seen) != files || s.OmittedFiles != 0 {
			t.Errorf("%d records of %d descriptors, want %d once; %d omitted", n, len(seen), files, s.OmittedFiles)
		}
	}
	if w.filePlan == 0 || w.plan != 0 {
		t.Errorf("plans %d and %d: the walk for files needs parts, that for instances none", w.filePlan, w.plan)
	}
}

// TestOpenFilesWatches: the watches of an instance are found, and read again only after
// they changed.
func TestOpenFilesWatches(t *testing.T) { eachWalk(t, testOpenFilesWatches) }

func testOpenFilesWatches(t *testing.T, w *Walk) {
	dir, other := t.TempDir(), "/proc"
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	watch := func(path string) (wd int, ino uint64) {
		t.Helper()
		var st unix.Stat_t
		wd, err := unix.InotifyAddWatch(fd, path, unix.IN_DELETE_SELF)
		if err := cmpErr(err, unix.Stat(path, &st)); err != nil {
			t.Fatal(err)
		}
		return wd, st.Ino
	}
	_, _ = watch(other)
	var inos []uint64
	last := 0
	for i := range 300 {
		name := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wd, ino := watch(name)
		inos, last = append(inos, ino), wd
	}
	found := func() []uint64 {
		t.Helper()
		s, err := w.OpenFiles(below(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		var all []uint64
		for _, in := range s.Instances {
			if s.Processes[in.Process].PID == os.Getpid() {
				for _, x := range in.Watches {
					all = append(all, x.Ino)
				}
			}
		}
		slices.Sort(all)
		return all
	}
	same := func(step string) {
		t.Helper()
		want := slices.Sorted(slices.Values(inos))
		if got := found(); !slices.Equal(got, want) {
			t.Errorf("%s: %d watches, want %d", step, len(got), len(want))
		}
	}
	same("at first")
	lists := func() (n int) {
		for _, known := range w.watches {
			if len(known.list) == len(inos) && known.walks > 1 {
				n++
			}
		}
		return n
	}
	same("again")
	if lists() != 1 {
		t.Errorf("the watches were read again although none was added or removed")
	}
	if _, err := unix.InotifyRmWatch(fd, uint32(last)); err != nil {
		t.Fatal(err)
	}
	inos = inos[:len(inos)-1]
	same("after one was removed")
	more := filepath.Join(dir, "more")
	if err := os.WriteFile(more, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, ino := watch(more)
	inos = append(inos, ino)
	same("after one was added, so there are as many as before")
}

func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestOpenFilesPrograms: a process with a wanted name is reported although it has no
// file open.
func TestOpenFilesPrograms(t *testing.T) { eachWalk(t, testOpenFilesPrograms) }

func testOpenFilesPrograms(t *testing.T, w *Walk) {
	f := below(t, t.TempDir())
	self, err := ownComm()
	if err != nil {
		t.Fatal(err)
	}
	for _, programs := range [][]string{nil, {"no-such-program"}, {"kubelet", self}} {
		f.Programs = programs
		s, err := w.OpenFiles(f)
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(s.Processes, func(p openfiles.Process) bool { return p.PID == os.Getpid() })
		if slices.Contains(programs, self) && !found {
			t.Errorf("%q: this process is not reported", programs)
		}
	}
	f.Below = nil
	if _, err := w.OpenFiles(f); err == nil {
		t.Error("a filter without directories is accepted")
	}
	f.Below = make([]openfiles.Directory, openfiles.MaxDirectories+1)
	if _, err := w.OpenFiles(f); err == nil {
		t.Error("too many directories are accepted")
	}
}
