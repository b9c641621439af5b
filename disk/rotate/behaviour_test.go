package rotate

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
)

// What logrotate's own suite (test/test-NNNN.sh of version 3.22) asks of it, by
// groups, and where the same is asked of us:
//
//   - nothing to do, nothing done (1 21 22 41 51-53 59 70 71 74 84 107):
//     TestPassLeavesAlone, TestRotateEmptyIsLeftAlone, TestReclaimForReal's plan
//   - how many, how large, how old, in which order (2 6 7 9 16 38 54-56 66 82
//     85 86 88): TestPassRetains, TestRotationDue, TestExcess
//   - compression, its failures, its times (8 10 11 18 57 72 76 108):
//     TestPassRetains, TestPassGrace, TestRotateFailing, TestRotateFullForReal,
//     TestSettleRepairs, TestRotateKeepsAttributes, TestEncodeDecode
//   - copies and holes (58 62 63 73): TestRotateSparse, TestLoss
//   - names and collisions (12-14 30 69 78 94 100 101): TestRotateStrangeNames,
//     TestRotateCollides, TestRotateTwiceAtOnce, TestArchive, FuzzArchivesOf
//   - owner, mode, ACL, label (31-33 35 47 48): TestRotateOnEveryFilesystem,
//     TestActWithoutCapability
//   - links, FIFOs (23 24 90 91 112): TestRotateRefuses, TestRotateSwap,
//     TestRotateImmutable
//   - state and locks (46 49 50 68 87 92 93): there is no state beside the names;
//     TestRotateTogether, TestRotateLockedByOthers, TestRotateAfterKilledCopy,
//     TestSettleRepairs, TestLossKilled
//   - scripts that fail (19 20 39 44 45 109): there are none; a writer that does
//     not reopen, or cannot be asked: TestRotateWriterUnknown,
//     TestActWithoutCapability
//
// The rest is its configuration's grammar, and mail.

// hostDir is a root with a /var/log and an /etc on whatever the tests lie on.
func hostDir(t *testing.T) (r *Rotator, logs string) {
	t.Helper()
	root := t.TempDir()
	logs = filepath.Join(root, "var/log")
	disktest.Must(t, os.MkdirAll(logs, 0o755))
	disktest.Must(t, os.MkdirAll(filepath.Join(root, "etc/logrotate.d"), 0o755))
	disktest.WriteFile(t, filepath.Join(root, "etc/logrotate.conf"), "include /etc/logrotate.d\n")
	r, err := New("/proc", root, []string{"/var/log"})
	disktest.Must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r, logs
}

func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	disktest.Must(t, filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		disktest.Must(t, err)
		var st unix.Stat_t
		disktest.Must(t, unix.Lstat(p, &st))
		fmt.Fprintf(&b, "%s %d %o %d %d\n", p, st.Ino, st.Mode, st.Size, st.Mtim.Nano())
		return nil
	}))
	return b.String()
}

func TestPassLeavesAlone(t *testing.T) {
	rule := Rule{Paths: []string{"/var/log/*.log"}, MaxSize: 100}
	long := strings.Repeat("a line\n", 100)
	for name, c := range map[string]struct {
		rules []Rule
		make  func(t *testing.T, logs string)
		want  string // in the error of the only act; "" where there is no act
	}{
		"no rotation":  {nil, func(t *testing.T, logs string) { disktest.WriteFile(t, logs+"/a.log", long) }, ""},
		"no log":       {[]Rule{rule}, func(*testing.T, string) {}, ""},
		"no directory": {[]Rule{{Paths: []string{"/var/log/app/*.log"}, MaxSize: 1}}, func(*testing.T, string) {}, ""},
		"another name": {[]Rule{rule}, func(t *testing.T, logs string) { disktest.WriteFile(t, logs+"/a.txt", long) }, ""},
		"a hidden one": {[]Rule{rule}, func(t *testing.T, logs string) { disktest.WriteFile(t, logs+"/.a.log", long) }, ""},
		"below": {[]Rule{rule}, func(t *testing.T, logs string) {
			disktest.Must(t, os.Mkdir(logs+"/a", 0o755))
			disktest.WriteFile(t, logs+"/a/a.log", long)
		}, ""},
		"an empty one": {[]Rule{rule}, func(t *testing.T, logs string) { disktest.WriteFile(t, logs+"/a.log", "") }, ""},
		"a small one":  {[]Rule{rule}, func(t *testing.T, logs string) { disktest.WriteFile(t, logs+"/a.log", long[:99]) }, ""},
		"a young one":  {[]Rule{{Paths: rule.Paths, MaxAge: field.Duration(2 * time.Hour)}}, func(t *testing.T, logs string) { disktest.WriteFile(t, logs+"/a.log", long) }, ""},
		"others' archives": {[]Rule{{Paths: []string{"/var/log/*"}, MaxSize: 100}}, func(t *testing.T, logs string) {
			disktest.WriteFile(t, logs+"/a.1", long)
			disktest.WriteFile(t, logs+"/a-20260101", long)
			disktest.WriteFile(t, logs+"/a.2.gz", long)
		}, ""},
		"a directory so called": {[]Rule{rule}, func(t *testing.T, logs string) { disktest.Must(t, os.Mkdir(logs+"/a.log", 0o755)) }, ""},
		"a link so called": {[]Rule{rule}, func(t *testing.T, logs string) {
			disktest.WriteFile(t, logs+"/a", long)
			disktest.Must(t, os.Symlink("a", logs+"/a.log"))
		}, ""},
		"of logrotate": {[]Rule{rule}, func(t *testing.T, logs string) {
			disktest.WriteFile(t, logs+"/a.log", long)
			disktest.WriteFile(t, logs+"/../../etc/logrotate.d/a", "/var/log/a.log {\n}\n")
		}, "rotated by logrotate"},
		"where others write": {[]Rule{rule}, func(t *testing.T, logs string) {
			disktest.WriteFile(t, logs+"/a.log", long)
			disktest.Must(t, os.Chmod(logs, 0o777))
		}, "can be written by others"},
	} {
		t.Run(name, func(t *testing.T) {
			r, logs := hostDir(t)
			c.make(t, logs)
			before := treeOf(t, logs)
			acts := r.Pass(t.Context(), c.rules, false, time.Now().Add(time.Hour))
			switch {
			case c.want == "" && len(acts) > 0:
				t.Errorf("acts: %+v", acts)
			case c.want != "" && (len(acts) != 1 || acts[0].Verb != logdir.ActionSkip || !strings.Contains(acts[0].Error, c.want)):
				t.Errorf("acts: %+v, want a refusal: %s", acts, c.want)
			}
			if after := treeOf(t, logs); after != before {
				t.Errorf("before:\n%safter:\n%s", before, after)
			}
		})
	}
}

// decoded is the text of an archive.
func decoded(t *testing.T, p string) string {
	t.Helper()
	f, err := os.Open(p)
	disktest.Must(t, err)
	defer f.Close()
	kind := map[string]archive.Compression{".gz": archive.Gzip, ".zst": archive.Zstd}[filepath.Ext(p)]
	var b bytes.Buffer
	r, closeIt, err := archive.Decoder(f, kind)
	disktest.Must(t, err)
	defer closeIt()
	_, err = b.ReadFrom(r)
	disktest.Must(t, err)
	return b.String()
}

// An hourly log keeps its last archives, whichever way they are compressed, and
// the oldest go first.
func TestPassRetains(t *testing.T) {
	for name, c := range map[string]struct {
		rule Rule
		want string // the hours whose archives are left after six
	}{
		"three":            {Rule{Archives: 3}, "345"},
		"all":              {Rule{}, "012345"},
		"150 minutes":      {Rule{KeepFor: field.Duration(150 * time.Minute)}, "345"},
		"three, zstd":      {Rule{Archives: 3, Compress: archive.Zstd}, "345"},
		"three, not small": {Rule{Archives: 3, Compress: archive.None}, "345"},
	} {
		t.Run(name, func(t *testing.T) {
			r, logs := hostDir(t)
			rule := c.rule
			rule.Paths, rule.MaxAge, rule.Grace = []string{"/var/log/*.log"}, field.Duration(30*time.Minute), 1
			file := filepath.Join(logs, "a.log")
			begin := time.Now().Add(time.Hour)
			var now time.Time
			for hour := range 6 {
				now = begin.Add(time.Duration(hour) * time.Hour)
				rule := rule
				if hour < 2 { // then the configuration changes
					rule.Compress = archive.Gzip
				}
				disktest.WriteFile(t, file, fmt.Sprintf("hour %d\n", hour))
				for range 2 { // the second has nothing to do but to compress
					for _, a := range r.Pass(t.Context(), []Rule{rule}, false, now) {
						if a.Err != nil {
							t.Errorf("%+v", a)
						}
					}
				}
			}
			got := ""
			for _, n := range disktest.List(t, logs) {
				if n != "a.log" {
					got += strings.TrimSpace(strings.TrimPrefix(decoded(t, filepath.Join(logs, n)), "hour "))
				}
			}
			if got != c.want {
				t.Errorf("archives of the hours %s, want %s: %v", got, c.want, disktest.List(t, logs))
			}
			before := treeOf(t, logs)
			if acts := r.Pass(t.Context(), []Rule{rule}, false, now); len(acts) > 0 || treeOf(t, logs) != before {
				t.Errorf("a pass with nothing to do: %+v", acts)
			}
		})
	}
}

// An archive stays as it is for its grace, and keeps when it was last written; a
// log that is gone has archives that expire.
func TestPassGrace(t *testing.T) {
	r, logs := hostDir(t)
	rule := Rule{Paths: []string{"/var/log/*.log"}, MaxSize: 1, Archives: 1, Grace: field.Duration(10 * time.Minute)}
	file := filepath.Join(logs, "a.log")
	disktest.WriteFile(t, file, "one\n")
	written := time.Now().Add(-time.Second).Truncate(time.Millisecond)
	disktest.Must(t, os.Chtimes(file, written, written))
	pass := func(after time.Duration) []string {
		t.Helper()
		for _, a := range r.Pass(t.Context(), []Rule{rule}, true, written.Add(after)) {
			if a.Err != nil {
				t.Errorf("%+v", a)
			}
		}
		return disktest.List(t, logs)
	}
	if got := pass(time.Minute); len(got) != 2 {
		t.Fatalf("%v", got)
	}
	if got := pass(9 * time.Minute); len(got) != 2 || filepath.Ext(got[1]) == ".gz" {
		t.Errorf("compressed in its grace: %v", got)
	}
	got := pass(11 * time.Minute)
	if len(got) != 2 || filepath.Ext(got[1]) != ".gz" {
		t.Fatalf("not compressed after its grace: %v", got)
	}
	if st, err := os.Stat(filepath.Join(logs, got[1])); err != nil || !st.ModTime().Equal(written) {
		t.Errorf("it was last written %v, want %v", st.ModTime(), written)
	}
	disktest.Must(t, os.Remove(file))
	disktest.WriteFile(t, filepath.Join(logs, "a.log.20200101-000000000000.gz"), "an old one")
	if got := pass(12 * time.Minute); len(got) != 1 || strings.Contains(got[0], "2020") {
		t.Errorf("of a log that is gone: %v", got)
	}
}

// A name is bytes, and only a prefix of it makes no other log an archive.
func TestRotateStrangeNames(t *testing.T) {
	r, logs := hostDir(t)
	names := []string{
		"a", "a.log", "a.log.err", "a.log.err.log", "a.log.20260131.log", "with space", "-rf", "*", "[x", `back\slash`, "new\nline",
		"\xff\xfe", "..log", "ü", "a.log.1.x", strings.Repeat("n", 255-len(".20260131-120000000000.gz.part")-1),
	}
	for _, n := range names {
		disktest.WriteFile(t, filepath.Join(logs, n), n)
	}
	for i, n := range names {
		if archiveName := rotate(t, r, "/var/log/"+n, Options{}, disktest.Noon.Add(time.Duration(i)*time.Second)); archiveName == "" {
			t.Errorf("%q was left alone", n)
		}
	}
	// The archives of one are not those of another: all are kept but each log's own.
	for _, n := range names {
		finish(t, r, "/var/log/"+n, Options{Compress: archive.Gzip, Archives: 1})
	}
	for i, n := range names {
		p := filepath.Join(logs, n+"."+archive.TimestampSuffix(disktest.Noon.Add(time.Duration(i)*time.Second))+".gz")
		if got := decoded(t, p); got != n {
			t.Errorf("%q has %q", p, got)
		}
		if disktest.ReadFile(t, filepath.Join(logs, n)) != "" {
			t.Errorf("%q is not empty", n)
		}
	}
	if got := disktest.List(t, logs); len(got) != 2*len(names) {
		t.Errorf("%d files: %q", len(got), got)
	}
}

// A rotation replaces no file that has the archive's name already, and follows no
// link there.
func TestRotateCollides(t *testing.T) {
	for name, inTheWay := range map[string]func(p string) error{
		"file":      func(p string) error { return os.WriteFile(p, []byte("precious"), 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o755) },
		"link":      func(p string) error { return os.Symlink("precious", p) },
	} {
		for _, at := range []string{"archive", "compressed"} {
			t.Run(name+" for the "+at, func(t *testing.T) {
				r, logs := hostDir(t)
				disktest.WriteFile(t, filepath.Join(logs, "a.log"), "line\n")
				disktest.WriteFile(t, filepath.Join(logs, "precious"), "precious")
				archiveName := filepath.Join(logs, "a.log."+archive.TimestampSuffix(disktest.Noon))
				if at == "archive" {
					disktest.Must(t, inTheWay(archiveName))
					before, err := os.Lstat(archiveName)
					disktest.Must(t, err)
					got := filepath.Join(logs, filepath.Base(rotate(t, r, "/var/log/a.log", Options{}, disktest.Noon)))
					after, err := os.Lstat(archiveName)
					if disktest.Must(t, err); got <= archiveName || !os.SameFile(before, after) || disktest.ReadFile(t, got) != "line\n" {
						t.Errorf("the archive is %s: %v", got, disktest.List(t, logs))
					}
					return
				}
				rotate(t, r, "/var/log/a.log", Options{}, disktest.Noon)
				disktest.Must(t, inTheWay(archiveName+".gz"))
				_, _ = r.FinishRotation(t.Context(), "/var/log/a.log", Options{Compress: archive.Gzip}, disktest.Noon)
				if disktest.ReadFile(t, filepath.Join(logs, "precious")) != "precious" {
					t.Error("a link was followed")
				}
				if _, err := os.Lstat(archiveName); err != nil && decoded(t, archiveName+".gz") != "line\n" {
					t.Errorf("the line is gone: %v", disktest.List(t, logs))
				}
			})
		}
	}
}

// A log with holes is copied with holes.
func TestRotateSparse(t *testing.T) {
	r, logs := hostDir(t)
	file := filepath.Join(logs, "a.log")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o640)
	disktest.Must(t, err)
	defer f.Close()
	const hole = 1 << 30
	for _, at := range []int64{0, hole, 2*hole + 12345} {
		_, err = f.WriteAt([]byte("a line\n"), at)
		disktest.Must(t, err)
	}
	disktest.Must(t, f.Truncate(3*hole))
	want, err := f.Stat()
	disktest.Must(t, err)
	disktest.Must(t, f.Close())
	archiveName := rotate(t, r, "/var/log/a.log", Options{InPlace: true}, disktest.Noon)
	var copied, live unix.Stat_t
	disktest.Must(t, unix.Stat(filepath.Join(logs, filepath.Base(archiveName)), &copied))
	disktest.Must(t, unix.Stat(file, &live))
	if copied.Size+live.Size != want.Size() {
		t.Errorf("%d and %d bytes of %d", copied.Size, live.Size, want.Size())
	}
	if copied.Blocks*512 > 16<<20 {
		t.Errorf("the copy takes %d bytes, of a log that took some KiB", copied.Blocks*512)
	}
	g, err := os.Open(filepath.Join(logs, filepath.Base(archiveName)))
	disktest.Must(t, err)
	defer g.Close()
	for _, at := range []int64{0, hole, 2*hole + 12345} {
		b := make([]byte, 9)
		_, err := g.ReadAt(b[:8], at)
		disktest.Must(t, err)
		if string(b[:8]) != "a line\n\x00" {
			t.Errorf("at %d: %q", at, b)
		}
	}
}

// A process that may read a log may lock it. The lock does not keep nodetune from
// rotating the log.
func TestRotateLockedByOthers(t *testing.T) {
	for _, inPlace := range []bool{false, true} {
		r, logs := hostDir(t)
		file := filepath.Join(logs, "a.log")
		disktest.WriteFile(t, file, strings.Repeat("a line\n", 10_000))
		disktest.Start(t, "flock", "--no-fork", file, "sleep", "300")
		disktest.WaitUntil(t, "the lock", func() bool {
			f, err := os.Open(file)
			disktest.Must(t, err)
			defer f.Close()
			return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
		})
		if archiveName := rotate(t, r, "/var/log/a.log", Options{InPlace: inPlace}, disktest.Noon); archiveName == "" {
			t.Errorf("in place %v: it was left alone", inPlace)
		}
		if got := disktest.List(t, logs); len(got) != 2 {
			t.Errorf("in place %v: left %v", inPlace, got)
		}
	}
}

// A run was killed after it had copied the head of the log, and before it had cut
// it off. The next run settles that before it rotates the log: once the log has
// changed, no run can find out.
func TestRotateAfterKilledCopy(t *testing.T) {
	for _, inPlace := range []bool{true, false} {
		dir := t.TempDir()
		file := filepath.Join(dir, "app.log")
		disktest.Must(t, os.WriteFile(file, disktest.NumberedLines(1000), 0o640))
		disktest.Must(t, os.WriteFile(filepath.Join(dir, ".app.log."+archive.TimestampSuffix(disktest.Noon)+logdir.CopySuffix), disktest.NumberedLines(500), 0o640))
		r := newRotator(t, dir)
		how := Options{Compress: archive.Gzip, InPlace: inPlace}
		rotate(t, r, file, how, disktest.Noon.Add(time.Minute))
		finish(t, r, file, how)
		if got := disktest.Count(t, dir, "app.log", 1000); got.Missing+got.Duplicated+got.Garbled > 0 {
			t.Errorf("in place %v: %v, %v", inPlace, got, disktest.List(t, dir))
		}
	}
}

// Several rotate the same log at once, under a writer that reopens it: each line
// is there once.
func TestRotateTogether(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 9 s, and -short is set")
	}
	for _, inPlace := range []bool{false, true} {
		t.Run(map[bool]string{false: "exchange", true: "in place"}[inPlace], func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "app.log")
			w := disktest.StartWriter(t, file, "LINES=80000", "RATE=20000", "REOPEN=1")
			how := Options{Reopen: Reopen{PID: w.Cmd.Process.Pid}, Compress: archive.Gzip, InPlace: inPlace}
			var all sync.WaitGroup
			var mu sync.Mutex
			var archives []string
			stop := make(chan struct{})
			for range 4 {
				r := newRotator(t, dir)
				all.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(10 * time.Millisecond):
						}
						// Whatever the others did meanwhile may be an error here.
						_, _ = r.FinishRotation(t.Context(), file, how, time.Now())
						if a, err := r.Rotate(t.Context(), file, how, time.Now()); err == nil && a != "" {
							mu.Lock()
							archives = append(archives, a)
							mu.Unlock()
						}
					}
				})
			}
			n := <-w.Done
			close(stop)
			all.Wait()
			finish(t, newRotator(t, dir), file, how)
			got := disktest.Count(t, dir, "app.log", n)
			t.Logf("%v, %d rotations", got, len(archives))
			if got.Missing+got.Duplicated+got.Garbled > 0 || n != 80000 {
				t.Errorf("%v, %d written", got, n)
			}
			if len(slices.Compact(slices.Sorted(slices.Values(archives)))) < 2 {
				t.Errorf("%d rotations", len(archives))
			}
		})
	}
}

// One archive from the future, of a clock that was ahead, does not end rotation by age.
func TestAnArchiveOfTheFuture(t *testing.T) {
	r, logs := hostDir(t)
	rule := Rule{Paths: []string{"/var/log/*.log"}, MaxAge: field.Duration(24 * time.Hour)}
	disktest.WriteFile(t, logs+"/a.log", "a line\n")
	disktest.WriteFile(t, logs+"/a.log.20361101-000000000000", "old\n")
	for i, c := range []struct {
		after time.Duration
		want  bool
	}{{time.Hour, false}, {25 * time.Hour, true}, {0, false}, {-25 * time.Hour, true}} { // of the clock that the file has
		rotated := false
		for _, a := range r.Pass(t.Context(), []Rule{rule}, false, time.Now().Add(c.after)) {
			if a.Err != nil {
				t.Error(a)
			}
			rotated = rotated || a.Verb == logdir.ActionRotate
		}
		if rotated != c.want {
			t.Errorf("pass %d: rotated %t, want %t", i, rotated, c.want)
		}
		if rotated {
			disktest.WriteFile(t, logs+"/a.log", "a line\n")
		}
	}
}
