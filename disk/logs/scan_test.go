package logs

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
	"github.com/nodetune/nodetune/internal/privtest"
)

// newTree keeps few directories open, so that tests meet both kinds.
func newTree() *Tree { return &Tree{Host: "/var/log", Pods: "/var/log/pods", Keep: 1} }

// written returns what each producer has written, by path.
func written(tr *Tree) map[string]uint64 {
	now := map[string]uint64{}
	tr.Producers(0, nil, now)
	return now
}

func pass(t testing.TB, tr *Tree, root hostfs.Root, full bool) {
	t.Helper()
	if err := tr.Update(root, time.Now(), full); err != nil {
		t.Fatal(err)
	}
}

// What a container has written is counted through rotations of every kind, a
// restart, truncation and compression.
func TestWrittenThroughRotations(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	dir := filepath.Join(host, "var/log/pods", disktest.PodA)
	log := func(name string) string { return filepath.Join(dir, name) }
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(log(from), log(to)); err != nil {
			t.Fatal(err)
		}
	}
	disktest.Append(t, log("0.log"), 1000)
	disktest.Append(t, log("0.log.20260101-000000.gz"), 500)
	tr := newTree()
	want := uint64(0)
	step := func(what string, n uint64, do func()) {
		t.Helper()
		do()
		want += n
		pass(t, tr, root, false)
		if got := written(tr)["/var/log/pods/"+disktest.PodA]; got != want {
			t.Errorf("%s: %d written, want %d", what, got, want)
		}
	}
	step("what was there before", 0, func() {})
	step("append", 100, func() { disktest.Append(t, log("0.log"), 100) })
	step("rotate", 70, func() {
		disktest.Append(t, log("0.log"), 50)
		rename("0.log", "0.log.20260101-000001")
		disktest.Append(t, log("0.log"), 20)
	})
	step("a late writer", 30, func() { disktest.Append(t, log("0.log.20260101-000001"), 30) })
	step("twice within a pass", 300, func() {
		rename("0.log", "0.log.20260101-000002")
		disktest.Append(t, log("0.log"), 200)
		rename("0.log", "0.log.20260101-000003")
		disktest.Append(t, log("0.log"), 100)
	})
	step("compress", 0, func() {
		disktest.Append(t, log("0.log.20260101-000001.gz"), 10)
		if err := os.Remove(log("0.log.20260101-000001")); err != nil {
			t.Fatal(err)
		}
	})
	step("copytruncate", 5, func() {
		disktest.Append(t, log("0.log.1"), 100) // the copy of what was counted
		if err := os.Truncate(log("0.log"), 0); err != nil {
			t.Fatal(err)
		}
		disktest.Append(t, log("0.log"), 5)
	})
	step("restart", 40, func() { disktest.Append(t, log("1.log"), 40) })
	step("nothing", 0, func() {})

	// A pod that came after the first pass has written all it has.
	disktest.Append(t, filepath.Join(host, "var/log/pods", disktest.PodB, "0.log"), 77)
	pass(t, tr, root, false)
	if got := written(tr)["/var/log/pods/"+disktest.PodB]; got != 77 {
		t.Errorf("new pod: %d written, want 77", got)
	}
}

func TestProducers(t *testing.T) {
	host := t.TempDir()
	at := func(name string) string { return filepath.Join(host, "var/log", name) }
	disktest.Append(t, at("pods/"+disktest.PodA+"/0.log"), 5000)
	disktest.Append(t, at("pods/"+disktest.PodA+"/0.log.20260101-000000.gz"), 3000)
	disktest.Append(t, at("syslog"), 10)
	disktest.Append(t, at("syslog.1"), 10)
	disktest.Append(t, at("syslog.2.gz"), 10)
	disktest.Append(t, at("journal/0123/system.journal"), 8<<10)
	disktest.Append(t, at("journal/0123/system@1.journal"), 8<<10)
	if err := os.Symlink("/etc", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	tr := newTree()
	pass(t, tr, hostfs.Root(disktest.OpenRoot(t, host)), false)
	got := map[string]Producer{}
	for _, p := range tr.Producers(0, nil, map[string]uint64{}) {
		got[p.Path] = p
	}
	for path, want := range map[string]struct {
		kind            Kind
		files, archives int
		bytes           uint64
	}{
		"/var/log/pods/" + disktest.PodA: {KindContainer, 2, 1, 12 << 10},
		"/var/log/syslog":                {KindFile, 3, 2, 12 << 10},
		"/var/log/journal/0123":          {KindJournal, 2, 1, 16 << 10},
	} {
		p := got[path]
		if p.Kind != want.kind || p.Files != want.files || p.Archives != want.archives {
			t.Errorf("%s: %+v, want %+v", path, p, want)
		}
		// The filesystem decides how much it allocates for small files.
		if p.Bytes > want.bytes {
			t.Errorf("%s: %d bytes allocated, want at most %d", path, p.Bytes, want.bytes)
		}
	}
	if p := got["/var/log/pods/"+disktest.PodA]; p.Namespace != "prod" || p.Pod != "web-7d4b9" || p.Container != "app" {
		t.Errorf("producer %+v", p.Workload)
	}
	if len(got) != 3 || tr.Skipped[skipSpecial] != 1 {
		t.Errorf("%d producers, skipped %v", len(got), tr.Skipped)
	}
}

// The incremental pass knows what a scan from nothing knows, whatever happens
// in between.
func TestIncrementalEqualsFull(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	logs := filepath.Join(host, "var/log")
	disktest.Append(t, filepath.Join(logs, "start.log"), 1)
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"0.log", "1.log", "0.log.1", "0.log.20260101-000000", "0.log.20260101-000000.gz", "syslog"}
	dirs := []string{".", "a", "a/b", "pods/" + disktest.PodA, "pods/" + disktest.PodB}
	any := func(s []string) string { return s[random.IntN(len(s))] }
	tr := newTree()
	for range 300 {
		for range 1 + random.IntN(4) {
			dir := filepath.Join(logs, any(dirs))
			file := filepath.Join(dir, any(names))
			switch random.IntN(6) {
			case 0, 1, 2:
				disktest.Append(t, file, random.IntN(20000))
			case 3:
				_ = os.Remove(file)
			case 4:
				_ = os.Rename(file, filepath.Join(dir, any(names)))
			case 5:
				if dir != logs {
					_ = os.RemoveAll(dir)
				}
			}
		}
		pass(t, tr, root, false)
		fresh := newTree()
		pass(t, fresh, root, true)
		if got, want := sums(tr), sums(fresh); !reflect.DeepEqual(got, want) {
			t.Fatalf("incremental\n%v\nfull\n%v", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func sums(tr *Tree) []string {
	var all []string
	for _, p := range tr.Producers(0, nil, map[string]uint64{}) {
		all = append(all, fmt.Sprint(p.Path, " ", p.Kind, " ", p.Bytes, " ", p.Files, " ", p.Archives))
	}
	slices.Sort(all)
	return all
}

// Directories of containers stay open within the bound, others never, and none
// that is gone.
func TestKeepOpen(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	pod := func(i int) string {
		return filepath.Join(host, "var/log/pods", fmt.Sprintf("ns_pod-%d_00000000-0000-0000-0000-%012d", i, i))
	}
	for i := range 10 {
		disktest.Append(t, filepath.Join(pod(i), "app/0.log"), 10)
	}
	disktest.Append(t, filepath.Join(host, "var/log/nginx/access.log"), 10)
	open := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range names {
			if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, host+"/") {
				n++
			}
		}
		return n
	}
	tr := newTree()
	tr.Keep = 7
	for i := range 4 {
		pass(t, tr, root, i == 2)
		if open() != 7 || tr.kept != 7 {
			t.Errorf("pass %d: %d open, %d kept, want 7", i, open(), tr.kept)
		}
	}
	for i := range 9 {
		if err := os.RemoveAll(pod(i)); err != nil {
			t.Fatal(err)
		}
	}
	pass(t, tr, root, false)
	if open() != 1 || tr.kept != 1 || tr.Files != 2 {
		t.Errorf("%d open, %d kept, %d files; want 1, 1, 2", open(), tr.kept, tr.Files)
	}
	// Another directory of the same name.
	if err := os.Rename(filepath.Join(pod(9), "app"), filepath.Join(host, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	disktest.Append(t, filepath.Join(pod(9), "app/5.log"), 33)
	disktest.Append(t, filepath.Join(host, "elsewhere/0.log"), 1000)
	pass(t, tr, root, false)
	if got := sums(tr); tr.Files != 2 || !strings.Contains(strings.Join(got, " "), " 1 0") {
		t.Errorf("%v", got)
	}
	tr.Close()
	if open() != 0 || tr.kept != 0 {
		t.Errorf("%d open, %d kept after the end", open(), tr.kept)
	}
}

// A directory that nothing happens in is not listed again; a full pass lists it.
func TestIncrementalListsLittle(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	old := time.Now().Add(-time.Hour)
	for i := range 20 {
		dir := filepath.Join(host, "var/log/d", fmt.Sprint(i))
		disktest.Append(t, filepath.Join(dir, "0.log"), 10)
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"var/log/d", "var/log"} {
		if err := os.Chtimes(filepath.Join(host, dir), old, old); err != nil {
			t.Fatal(err)
		}
	}
	tr := newTree()
	pass(t, tr, root, false)
	if tr.Listed != 22 || tr.Files != 20 {
		t.Fatalf("first pass listed %d directories with %d files, want 22 and 20", tr.Listed, tr.Files)
	}
	disktest.Append(t, filepath.Join(host, "var/log/d/7/1.log"), 5)
	disktest.Append(t, filepath.Join(host, "var/log/d/8/0.log"), 5)
	pass(t, tr, root, false)
	if tr.Listed != 1 || tr.Files != 21 {
		t.Errorf("listed %d directories with %d files, want 1 and 21", tr.Listed, tr.Files)
	}
	if got := written(tr)["/var/log/d/8/0.log"]; got != 5 {
		t.Errorf("%d written, want 5", got)
	}
	pass(t, tr, root, true)
	if tr.Listed != 22 {
		t.Errorf("a full pass listed %d directories, want 22", tr.Listed)
	}
}

// Links, before and after they were directories, lead nowhere.
func TestTreeRefusesLinks(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	outside := t.TempDir()
	disktest.Append(t, filepath.Join(outside, "secret.log"), 100)
	dir := filepath.Join(host, "var/log/d")
	disktest.Append(t, filepath.Join(dir, "0.log"), 10)
	tr := newTree()
	pass(t, tr, root, false)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, dir); err != nil {
		t.Fatal(err)
	}
	for _, full := range []bool{false, true} {
		pass(t, tr, root, full)
		if tr.Files != 0 {
			t.Errorf("followed a link out of the log directory: %v", sums(tr))
		}
	}
	// The top itself may be a link of the host's: /var/log on a larger disk.
	disktest.Append(t, filepath.Join(host, "data/log/x.log"), 1)
	if err := os.RemoveAll(filepath.Join(host, "var/log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/data/log", filepath.Join(host, "var/log")); err != nil {
		t.Fatal(err)
	}
	pass(t, tr, root, false)
	if tr.Files != 1 {
		t.Errorf("%d files behind /var/log -> /data/log, want 1", tr.Files)
	}
}

// An attacker swaps a directory and a link for as long as the scan goes on.
func TestTreeSwap(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	outside := t.TempDir()
	for i := range 50 {
		disktest.Append(t, filepath.Join(outside, fmt.Sprint(i, ".log")), 1)
	}
	dir := filepath.Join(host, "var/log/d")
	disktest.Append(t, filepath.Join(dir, "0.log"), 1)
	link := filepath.Join(host, "var/log/l")
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
			}
		}
	}()
	tr := newTree()
	tries := 5000
	if os.Getenv(privtest.Env) == "1" { // when there is time
		tries = 100_000
	}
	for i := range tries {
		pass(t, tr, root, i%2 == 0)
		// One, or the same one under both names, where they were exchanged
		// while they were listed. Outside there are 50.
		if tr.Files > 2 {
			t.Errorf("pass %d saw %d files, 1 is inside", i, tr.Files)
			break
		}
	}
	close(done)
	<-stopped
}

// manyFiles makes 100,000 files in 1,250 directories, as a node full of
// rotated logs has them.
func manyFiles(b *testing.B) (host string) {
	host = b.TempDir()
	old := time.Now().Add(-time.Hour)
	for d := range 625 {
		pod := filepath.Join(host, "var/log/pods", fmt.Sprintf("ns_pod-%d_00000000-0000-0000-0000-%012d", d, d))
		{
			dir := filepath.Join(pod, "app")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				b.Fatal(err)
			}
			for i := range 160 {
				name := "0.log"
				if i > 0 {
					name = fmt.Sprintf("0.log.20260101-%06d.gz", i)
				}
				p := filepath.Join(dir, name)
				if err := os.WriteFile(p, []byte("x"), 0o644); err != nil {
					b.Fatal(err)
				}
				if err := os.Chtimes(p, old, old); err != nil {
					b.Fatal(err)
				}
			}
			if err := os.Chtimes(dir, old, old); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.Chtimes(pod, old, old); err != nil {
			b.Fatal(err)
		}
	}
	return host
}

// BenchmarkScan compares, in one run, a full pass, an incremental one, the bare
// system calls of a full pass, and du.
func BenchmarkScan(b *testing.B) {
	host := manyFiles(b)
	root := hostfs.Root(disktest.OpenRoot(b, host))
	b.Run("du", func(b *testing.B) {
		defer disktest.CPUTime(b)()
		for b.Loop() {
			if err := exec.Command("du", "-s", host).Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		defer disktest.CPUTime(b)()
		buf := make([]byte, 64<<10)
		for b.Loop() {
			if n := bare(b, int(root), []byte("var\x00"), buf); n != 100_000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("full", func(b *testing.B) {
		tr := newTree()
		pass(b, tr, root, true)
		b.ReportAllocs()
		defer disktest.CPUTime(b)()
		for b.Loop() {
			pass(b, tr, root, true)
		}
		if tr.Files != 100_000 {
			b.Fatal(tr.Files)
		}
	})
	b.Run("incremental", func(b *testing.B) {
		tr := newTree()
		tr.Keep = MaxOpenDirs()
		pass(b, tr, root, true)
		// The directories above have just been made.
		t := time.Now().Add(time.Minute)
		if err := tr.Update(root, t, true); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		defer disktest.CPUTime(b)()
		for b.Loop() {
			pass(b, tr, root, false)
		}
		if tr.Files != 100_000 || tr.Listed != 0 {
			b.Fatal(tr.Files, tr.Listed)
		}
	})
}

// bare is a scan that keeps nothing: openat, getdents64 and fstatat for every
// file.
func bare(b *testing.B, at int, name, buf []byte) (files int) {
	fd, err := unix.Openat(at, string(name[:len(name)-1]), unix.O_RDONLY|hostfs.OpenDirectory, 0)
	if err != nil {
		b.Fatal(err)
	}
	var dirs [][]byte
	var st unix.Stat_t
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			b.Fatal(err)
		}
		if n <= 0 {
			break
		}
		hostfs.Dirents(buf[:n], func(name []byte, kind byte) {
			if kind == unix.DT_DIR {
				dirs = append(dirs, slices.Clone(name))
				return
			}
			if err := fstatat(fd, name, &st); err != nil {
				b.Fatal(err)
			}
			files++
		})
	}
	for _, d := range dirs {
		files += bare(b, fd, d, buf)
	}
	_ = unix.Close(fd)
	return files
}

func fstatat(dir int, name []byte, st *unix.Stat_t) error {
	return unix.Fstatat(dir, unix.ByteSliceToString(name), st, unix.AT_SYMLINK_NOFOLLOW)
}
