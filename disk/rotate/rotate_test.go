package rotate

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
)

func rotate(t *testing.T, r *Rotator, file string, how Options, now time.Time) string {
	t.Helper()
	archiveName, err := r.Rotate(t.Context(), file, how, now)
	if err != nil {
		t.Fatal(err)
	}
	return archiveName
}

// Mode, user attributes and the archive's mtime stay what they were.
func TestRotateKeepsAttributes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	disktest.WriteFile(t, file, "one\n")
	if err := os.Chmod(file, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(file, "user.team", []byte("blue"), 0); err != nil {
		t.Fatal(err)
	}
	old := disktest.Noon.Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	r := newRotator(t, dir)
	how := Options{Compress: archive.Gzip, Archives: 3}
	archiveName := rotate(t, r, file, how, disktest.Noon)
	if want := file + ".20260131-120000000000"; archiveName != want || disktest.ReadFile(t, archiveName) != "one\n" || disktest.ReadFile(t, file) != "" {
		t.Fatalf("archive %s: %q", archiveName, disktest.ReadFile(t, archiveName))
	}
	if _, err := r.FinishRotation(t.Context(), file, how, disktest.Noon); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, archiveName + ".gz"} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != 0o604 {
			t.Errorf("%s: mode %v", path, st.Mode())
		}
		b := make([]byte, 16)
		if n, err := unix.Getxattr(path, "user.team", b); err != nil || string(b[:n]) != "blue" {
			t.Errorf("%s: user.team %q, %v", path, b[:max(n, 0)], err)
		}
		if path != file && !st.ModTime().Equal(old) {
			t.Errorf("%s: mtime %v, want %v", path, st.ModTime(), old)
		}
	}
	if got := disktest.List(t, dir); len(got) != 2 {
		t.Errorf("left: %v", got)
	}
}

func TestRotateEmptyIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	disktest.WriteFile(t, file, "")
	if archiveName := rotate(t, newRotator(t, dir), file, Options{}, disktest.Noon); archiveName != "" || len(disktest.List(t, dir)) != 1 {
		t.Errorf("an empty log was rotated: %v", disktest.List(t, dir))
	}
}

// Two rotations within a second, even within a microsecond, overwrite nothing,
// and the later one sorts after the other, also where the clock went back.
func TestRotateTwiceAtOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	r := newRotator(t, dir)
	disktest.WriteFile(t, file, "one\n")
	first := rotate(t, r, file, Options{}, disktest.Noon)
	disktest.WriteFile(t, file, "two\n")
	second := rotate(t, r, file, Options{}, disktest.Noon)
	disktest.WriteFile(t, file, "three\n")
	third := rotate(t, r, file, Options{}, disktest.Noon.Add(-time.Hour))
	if !slices.IsSorted([]string{first, second, third}) || disktest.ReadFile(t, third) != "three\n" {
		t.Errorf("the clock went back, and the archives are %v", []string{first, second, third})
	}
	if disktest.ReadFile(t, first) != "one\n" || disktest.ReadFile(t, second) != "two\n" {
		t.Errorf("%q, %q", disktest.ReadFile(t, first), disktest.ReadFile(t, second))
	}
}

// What is not a plain log with one name is refused, and nothing is left behind.
func TestRotateRefuses(t *testing.T) {
	for name, make := range map[string]func(t *testing.T, dir, file string){
		"symbolic link": func(t *testing.T, dir, file string) {
			disktest.WriteFile(t, filepath.Join(dir, "real"), "x")
			disktest.Must(t, os.Symlink("real", file))
		},
		"hard link": func(t *testing.T, dir, file string) {
			disktest.WriteFile(t, file, "x")
			disktest.Must(t, os.Link(file, filepath.Join(dir, "second")))
		},
		"FIFO":      func(t *testing.T, _, file string) { disktest.Must(t, unix.Mkfifo(file, 0o600)) },
		"directory": func(t *testing.T, _, file string) { disktest.Must(t, os.Mkdir(file, 0o700)) },
		"shared with all": func(t *testing.T, dir, file string) {
			disktest.WriteFile(t, file, "x")
			disktest.Must(t, os.Chmod(dir, 0o777))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "app.log")
			make(t, dir, file)
			before := disktest.List(t, dir)
			var refusal *logdir.SkippedError
			if _, err := newRotator(t, dir).Rotate(t.Context(), file, Options{}, disktest.Noon); !errors.As(err, &refusal) {
				t.Errorf("not refused: %v", err)
			}
			if after := disktest.List(t, dir); !slices.Equal(before, after) {
				t.Errorf("%v became %v", before, after)
			}
		})
	}
	t.Run("elsewhere", func(t *testing.T) {
		dir, other := t.TempDir(), t.TempDir()
		disktest.WriteFile(t, filepath.Join(other, "app.log"), "x")
		var refusal *logdir.SkippedError
		if _, err := newRotator(t, dir).Rotate(t.Context(), filepath.Join(other, "app.log"), Options{}, disktest.Noon); !errors.As(err, &refusal) {
			t.Errorf("not refused: %v", err)
		}
	})
	t.Run("long name", func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, strings.Repeat("x", 255))
		disktest.WriteFile(t, file, "x")
		if _, err := newRotator(t, dir).Rotate(t.Context(), file, Options{}, disktest.Noon); !errors.Is(err, unix.ENAMETOOLONG) {
			t.Errorf("got %v, want ENAMETOOLONG", err)
		}
		if len(disktest.List(t, dir)) != 1 || disktest.ReadFile(t, file) != "x" {
			t.Errorf("%v", disktest.List(t, dir))
		}
	})
}

// The log of a writer that cannot be asked is not rotated. Where a writer is asked
// in vain, the archive stays as it is.
func TestRotateWriterUnknown(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	disktest.WriteFile(t, file, "one\n")
	w := disktest.StartWriter(t, file, "RATE=1000")
	r := newRotator(t, dir)
	var refusal *logdir.SkippedError
	if _, err := r.Rotate(t.Context(), file, Options{}, disktest.Noon); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "disk.test") && !strings.Contains(err.Error(), ".test[") {
		t.Errorf("got %v, want a refusal that names the writer", err)
	}
	how := Options{Reopen: Reopen{PID: w.Cmd.Process.Pid}, Compress: archive.Gzip}
	archiveName := rotate(t, r, file, how, disktest.Noon) // HUP, which this writer ignores
	s, err := r.FinishRotation(t.Context(), file, how, disktest.Noon)
	if err != nil || s.Waiting != 1 || len(s.Compressed) != 0 {
		t.Errorf("settled an archive that is written: %+v, %v", s, err)
	}
	if _, err := os.Stat(archiveName); err != nil {
		t.Error(err)
	}
}

// A reader far behind keeps its file, unless it is forced.
func TestRotateReaderBehind(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	disktest.WriteFile(t, file, strings.Repeat("x", 3<<20))
	tail := disktest.Helper(t, "TestHelperReader", "FILE="+file)
	out, err := tail.StdoutPipe()
	disktest.Must(t, err)
	disktest.Must(t, tail.Start())
	t.Cleanup(func() { _ = tail.Process.Kill(); _ = tail.Wait() })
	_, err = out.Read(make([]byte, 1))
	disktest.Must(t, err)
	r := newRotator(t, dir)
	var lag *ReaderLagError
	if _, err := r.Rotate(t.Context(), file, Options{}, disktest.Noon); !errors.As(err, &lag) || lag.LagBytes != 2<<20 || lag.Reader.PID != tail.Process.Pid {
		t.Fatalf("got %v, want a reader 2 MiB behind", err)
	}
	archiveName := rotate(t, r, file, Options{Force: true}, disktest.Noon)
	// It still reads: neither compressed nor removed.
	how := Options{Compress: archive.Gzip, Archives: 1}
	if s, err := r.FinishRotation(t.Context(), file, how, disktest.Noon); err != nil || s.Waiting != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := os.Stat(archiveName); err != nil {
		t.Error(err)
	}
}

// A log of which not all readers and writers could be found in time stays as it is.
func TestRotateOpenersUnknown(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	disktest.WriteFile(t, file, "one\n")
	disktest.HoldOpen(t, file)
	for _, how := range []Options{{}, {InPlace: true}, {Force: true}} {
		r := newRotator(t, dir)
		now := disktest.Noon
		r.Host.Clock = func() time.Time { now = now.Add(time.Hour); return now }
		if _, err := r.Rotate(t.Context(), file, how, disktest.Noon); !errors.Is(err, logdir.ErrOpenersUnknown) {
			t.Errorf("%+v: got %v, want %v", how, err, logdir.ErrOpenersUnknown)
		}
		if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
			t.Errorf("%+v: %d files are there, %v", how, len(all), err)
		}
	}
}

// An act says how many bytes it was about.
func TestSettleBytes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	r := newRotator(t, dir)
	for i := range 2 {
		disktest.Must(t, os.WriteFile(file, make([]byte, 1<<20), 0o600))
		rotate(t, r, file, Options{}, disktest.Noon.Add(time.Duration(i)*time.Second))
	}
	s, err := r.FinishRotation(t.Context(), file, Options{Compress: archive.Gzip, Archives: 1}, time.Now().Add(time.Hour))
	disktest.Must(t, err)
	var packed, freed uint64
	for _, a := range s.Actions(file) {
		switch a.Verb {
		case logdir.ActionCompress:
			packed += a.Bytes
		case logdir.ActionRemove:
			freed += a.Bytes
		}
	}
	if packed != 2<<20 || freed == 0 || freed >= 1<<20 {
		t.Errorf("compressed %d bytes, removed %d: %+v", packed, freed, s)
	}
}

// A name that is too long for an archive's is refused with the length that is not.
func TestRotateLongName(t *testing.T) {
	dir := t.TempDir()
	r := newRotator(t, dir)
	for n, want := range map[int]string{233: "", 234: "at most 233"} {
		file := filepath.Join(dir, strings.Repeat("a", n))
		disktest.WriteFile(t, file, "a line\n")
		_, err := r.Rotate(t.Context(), file, Options{}, disktest.Noon)
		skipped, ok := errors.AsType[*logdir.SkippedError](err)
		if want == "" && err != nil || want != "" && (!ok || !strings.Contains(skipped.Reason, want)) {
			t.Errorf("%d bytes: %v, want %q", n, err, want)
		}
	}
}

// An archive that is mostly a hole stays as it is: compressing it would free nothing.
func TestHoleIsNotCompressed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	r := newRotator(t, dir)
	var names []string
	for i, size := range []int64{8 << 30, 32 << 20} {
		disktest.WriteFile(t, file, "a line\n")
		disktest.Must(t, os.Truncate(file, size))
		names = append(names, rotate(t, r, file, Options{Force: true}, disktest.Noon.Add(time.Duration(i)*time.Second)))
	}
	s, err := r.FinishRotation(t.Context(), file, Options{Compress: archive.Gzip}, time.Now().Add(time.Hour))
	if err != nil || len(s.Compressed) != 1 || s.Compressed[0].Path != names[1]+".gz" || s.Waiting != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := os.Stat(names[0]); err != nil {
		t.Error(err)
	}
}

// Every state that a killed run can leave behind becomes a whole one.
func TestSettleRepairs(t *testing.T) {
	const log, at = "app.log", "app.log.20260131-110000000000"
	gz := func(t *testing.T, dir, name, text string) {
		disktest.WriteFile(t, filepath.Join(dir, name), string(disktest.GzipText(t, []byte(text))))
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, dir string)
		want []string
	}{
		"before the exchange": {
			func(t *testing.T, dir string) { disktest.WriteFile(t, filepath.Join(dir, at), "") },
			[]string{log},
		},
		"while compressing": {
			func(t *testing.T, dir string) {
				disktest.WriteFile(t, filepath.Join(dir, at), "old\n")
				disktest.WriteFile(t, filepath.Join(dir, "."+at+".gz.part"), "ol")
			},
			[]string{log, at + ".gz"},
		},
		"before the archive was removed": {
			func(t *testing.T, dir string) {
				disktest.WriteFile(t, filepath.Join(dir, at), "old\n")
				gz(t, dir, at+".gz", "old\n")
			},
			[]string{log, at + ".gz"},
		},
		"a compressed form that is cut short": {
			func(t *testing.T, dir string) {
				disktest.WriteFile(t, filepath.Join(dir, at), "old\n")
				gz(t, dir, at+".gz", "old\n")
				disktest.Must(t, os.Truncate(filepath.Join(dir, at+".gz"), 12))
			},
			[]string{log, at + ".gz"},
		},
		"a compressed form of less": {
			func(t *testing.T, dir string) {
				disktest.WriteFile(t, filepath.Join(dir, at), "old\nolder\n")
				gz(t, dir, at+".gz", "old\n")
			},
			[]string{log, at + ".gz"},
		},
		"a copy, the head still there": {
			func(t *testing.T, dir string) { disktest.WriteFile(t, filepath.Join(dir, "."+at+".copy"), "ne") },
			[]string{log},
		},
		"a copy, the head cut off": {
			func(t *testing.T, dir string) { disktest.WriteFile(t, filepath.Join(dir, "."+at+".copy"), "old\n") },
			[]string{log, at + ".gz"},
		},
		"a copy, the log shorter": {
			func(t *testing.T, dir string) {
				disktest.WriteFile(t, filepath.Join(dir, "."+at+".copy"), "new\nand more\n")
			},
			[]string{log, at + ".gz"},
		},
		"names that are not ours": {
			func(t *testing.T, dir string) {
				disktest.WriteFile(t, filepath.Join(dir, "app.log.1"), "1")
				disktest.WriteFile(t, filepath.Join(dir, "app.log.bak"), "1")
				disktest.WriteFile(t, filepath.Join(dir, ".app.log.swp"), "1")
				disktest.WriteFile(t, filepath.Join(dir, "app.log2.20260131-110000000000"), "1")
			},
			[]string{".app.log.swp", log, "app.log.1", "app.log.bak", "app.log2.20260131-110000000000"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, log)
			disktest.WriteFile(t, file, "new\n")
			c.make(t, dir)
			finish(t, newRotator(t, dir), file, Options{Compress: archive.Gzip})
			if got := disktest.List(t, dir); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if disktest.ReadFile(t, file) != "new\n" {
				t.Errorf("the log: %q", disktest.ReadFile(t, file))
			}
			for _, n := range disktest.List(t, dir) {
				if n != at+".gz" {
					continue
				}
				f, err := os.Open(filepath.Join(dir, n))
				disktest.Must(t, err)
				defer f.Close()
				if n, _, err := archive.Decode(f, archive.Gzip); err != nil || n < 4 {
					t.Errorf("the archive has %d bytes, %v", n, err)
				}
			}
		})
	}
}

func TestExcess(t *testing.T) {
	var all []archive.Archived
	for i := range 5 {
		all = append(all, archive.Archived{Name: string(rune('a' + i)), At: disktest.Noon.Add(time.Duration(i-5) * time.Hour), Plain: true, Compression: archive.None, Bytes: 10})
	}
	for _, c := range []struct {
		how  Options
		want string
	}{
		{Options{}, ""},
		{Options{Archives: 5}, ""},
		{Options{Archives: 3}, "ab"},
		{Options{Archives: 1}, "abcd"},
		{Options{KeepFor: 150 * time.Minute}, "abc"},
		{Options{KeepFor: time.Minute}, "abcd"}, // the last one always stays
		{Options{KeepSize: 50}, ""},
		{Options{KeepSize: 29}, "abc"},
		{Options{KeepSize: 1}, "abcd"},
		{Options{Archives: 4, KeepFor: 150 * time.Minute}, "abc"},
	} {
		got := ""
		for _, a := range Expired(all, c.how, disktest.Noon) {
			got += a.Name
		}
		if got != c.want {
			t.Errorf("%+v: got %q, want %q", c.how, got, c.want)
		}
	}
}

// Unread archives stay. Archives that another program rotated are removed by their
// number.
func TestExcessByFate(t *testing.T) {
	all := []archive.Archived{
		{Name: "a", State: archive.StateUnread}, {Name: "b", State: archive.StateUnknown}, {Name: "c", State: archive.StateRead}, {Name: "d", State: archive.StateUnread}, {Name: "e"}, {Name: "f"},
	}
	for i := range all {
		all[i].Plain, all[i].Compression, all[i].Bytes, all[i].At = true, archive.None, 10, disktest.Noon
	}
	for _, c := range []struct {
		how  Options
		want string
	}{
		{Options{KeepSize: 1}, "ce"},
		{Options{KeepSize: 50}, "c"},
		{Options{Archives: 5}, "b"},
		{Options{Archives: 1}, "bce"},
		{Options{Archives: 1, LoseUnread: true}, "bcead"},
		{Options{KeepSize: 20, Archives: 5, LoseUnread: true}, "bcea"},
	} {
		got := ""
		for _, a := range Expired(all, c.how, disktest.Noon) {
			got += a.Name
		}
		if got != c.want {
			t.Errorf("%d archives, %d bytes: got %q, want %q", c.how.Archives, c.how.KeepSize, got, c.want)
		}
	}
}

// The kubelet rotates between a look at the log and the exchange: its new log
// keeps its name, nothing is left behind, and nodetune reports nothing.
func TestReplaceReplaced(t *testing.T) {
	root := t.TempDir()
	rel, file := disktest.PodLog(t, root, "web")
	disktest.WriteFile(t, file, "old\n")
	h, err := logdir.OpenHost("/proc", root, []string{"/var/log"})
	disktest.Must(t, err)
	defer h.Close()
	d, err := h.Open(filepath.Dir(rel))
	disktest.Must(t, err)
	defer d.Close()
	live, _, err := d.OpenFile("0.log", unix.O_RDONLY)
	disktest.Must(t, err)
	defer live.Close()
	disktest.Must(t, os.Rename(file, file+".20260131-120000"))
	disktest.WriteFile(t, file, "new\n")
	if err := ReplaceLog(d, live, "0.log", "0.log.20260131-120000000000"); !errors.Is(err, ErrReplaced) {
		t.Errorf("replace: %v", err)
	}
	want := []string{"0.log", "0.log.20260131-120000"}
	if got := disktest.List(t, filepath.Dir(file)); !slices.Equal(got, want) || disktest.ReadFile(t, file) != "new\n" {
		t.Errorf("%q are left, and the log has %q", got, disktest.ReadFile(t, file))
	}
}
