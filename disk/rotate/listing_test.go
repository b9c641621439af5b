package rotate

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/field"
)

// changeTime returns when the kernel last changed the directory.
func changeTime(t *testing.T, dir string) unix.Timespec {
	t.Helper()
	var st unix.Stat_t
	disktest.Must(t, unix.Stat(dir, &st))
	return st.Ctim
}

// waitForTick waits until the time that a change of dir would get is another one than
// that of its last change.
func waitForTick(t *testing.T, dir string) {
	t.Helper()
	other, before := t.TempDir(), changeTime(t, dir)
	disktest.WaitUntil(t, "the filesystem's clock", func() bool {
		disktest.WriteFile(t, filepath.Join(other, "x"), "")
		disktest.Must(t, os.Remove(filepath.Join(other, "x")))
		return changeTime(t, other) != before
	})
}

// Whatever changes the names in a directory, a listing of before is not used again.
func TestListingSeesChanges(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"create":          func(dir string) error { return os.WriteFile(dir+"/new", nil, 0o600) },
		"create a hidden": func(dir string) error { return os.WriteFile(dir+"/.app.log.lock", nil, 0o600) },
		"remove":          func(dir string) error { return os.Remove(dir + "/app.log") },
		"rename":          func(dir string) error { return os.Rename(dir+"/app.log", dir+"/app.log.1") },
		"rename over":     func(dir string) error { return os.Rename(dir+"/app.log", dir+"/b.log") },
		"exchange": func(dir string) error {
			return unix.Renameat2(unix.AT_FDCWD, dir+"/app.log", unix.AT_FDCWD, dir+"/b.log", unix.RENAME_EXCHANGE)
		},
		"link":      func(dir string) error { return os.Symlink("x", dir+"/c.log") },
		"directory": func(dir string) error { return os.Mkdir(dir+"/d.log", 0o700) },
		"create, and set the time back": func(dir string) error {
			st, err := os.Stat(dir)
			if err != nil {
				return err
			}
			if err := os.WriteFile(dir+"/new", nil, 0o600); err != nil {
				return err
			}
			return os.Chtimes(dir, st.ModTime(), st.ModTime())
		},
		"another directory": func(dir string) error {
			if err := os.Rename(dir, dir+".old"); err != nil {
				return err
			}
			return os.Mkdir(dir, 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := disktest.Subdir(t, t.TempDir())
			disktest.WriteFile(t, filepath.Join(dir, "app.log"), "x")
			disktest.WriteFile(t, filepath.Join(dir, "b.log"), "x")
			r := newRotator(t, dir)
			in, err := listDir(r.Host, dir)
			disktest.Must(t, err)
			defer in.dir.Close()
			if in.trusted {
				t.Error("a directory that changed a moment ago is trusted")
			}
			in.trusted = true
			waitForTick(t, dir)
			if !in.unchanged(in.dir) {
				t.Error("it is listed again without a change")
			}
			disktest.Must(t, change(dir))
			d, err := r.Host.Open(dir)
			disktest.Must(t, err)
			defer d.Close()
			if in.unchanged(d) {
				t.Error("the change is not seen")
			}
		})
	}
}

// A listing is not used for ever, and not with a clock that was set back.
func TestListingAges(t *testing.T) {
	dir := t.TempDir()
	in, err := listDir(newRotator(t, dir).Host, dir)
	disktest.Must(t, err)
	defer in.dir.Close()
	in.trusted = true
	for age, want := range map[time.Duration]bool{0: true, maxListingAge - time.Minute: true, maxListingAge + time.Second: false, -time.Hour: false} {
		in.listed = time.Now().Add(-age)
		if in.unchanged(in.dir) != want {
			t.Errorf("%v: used again %v, want %v", age, !want, want)
		}
	}
}

func trustAll(r *Rotator) {
	for _, c := range r.remembered {
		c.trusted = true
	}
}

// An archive that has nothing due in one pass has it in a later one, although the
// directory did not change: its grace ends, it becomes too old, its log grows.
func TestPassRemembers(t *testing.T) {
	r, logs := hostDir(t)
	file := filepath.Join(logs, "app.log")
	name := file + ".20260131-115900000000"
	disktest.WriteFile(t, file, "x")
	disktest.WriteFile(t, file+".20260131-115800000000.gz", string(disktest.GzipText(t, []byte("x"))))
	disktest.WriteFile(t, name, "a line\n")
	disktest.Must(t, os.Chtimes(name, disktest.Noon, disktest.Noon))
	rules := []Rule{{Paths: []string{"/var/log/*.log"}, MaxSize: 100, KeepFor: field.Duration(time.Hour), Grace: field.Duration(time.Minute)}}
	pass := func(now time.Time) []string {
		var verbs []string
		for _, a := range r.Pass(t.Context(), rules, false, now) {
			if a.Err != nil {
				t.Error(a.Err)
			}
			verbs = append(verbs, a.Verb)
		}
		trustAll(r)
		return verbs
	}
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{0, nil},
		{30 * time.Second, nil},
		{61 * time.Second, []string{logdir.ActionCompress}},
		{2 * time.Hour, []string{logdir.ActionRemove}},
	} {
		if got := pass(disktest.Noon.Add(c.after)); !slices.Equal(got, c.want) {
			t.Errorf("after %v: %v, want %v", c.after, got, c.want)
		}
		waitForTick(t, logs)
	}
	disktest.Append(t, file, 200)
	if got := pass(time.Now()); !slices.Contains(got, logdir.ActionRotate) {
		t.Errorf("the log grew: %v", got)
	}
}

// An archive that a process opened is not remembered as one that no process has open.
func TestPassAsksUsedArchives(t *testing.T) {
	r, logs := hostDir(t)
	file := filepath.Join(logs, "app.log")
	name := file + ".20260131-115900000000"
	disktest.WriteFile(t, file, "")
	disktest.WriteFile(t, name, "a line\n")
	_, end := disktest.HoldOpen(t, name)
	rules := []Rule{{Paths: []string{"/var/log/*.log"}, MaxSize: 100, Compress: archive.Gzip, Grace: field.Duration(time.Second)}}
	later := time.Now().Add(time.Minute)
	if acts := r.Pass(t.Context(), rules, false, later); len(acts) != 0 {
		t.Errorf("in use: %+v", acts)
	}
	trustAll(r)
	end()
	if acts := r.Pass(t.Context(), rules, false, later); len(acts) != 1 || acts[0].Verb != logdir.ActionCompress {
		t.Errorf("not in use any more: %+v", acts)
	}
}

func listDir(host *logdir.Host, dir string) (*listing, error) {
	d, err := host.Open(dir)
	if err != nil {
		return nil, err
	}
	c, err := readContent(d)
	if err != nil {
		d.Close()
		return nil, err
	}
	return &listing{d, c}, nil
}
