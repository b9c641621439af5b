package hostfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// tree is a host with a log, and what must not be taken for it.
func tree(t *testing.T) (dir string, host Root) {
	t.Helper()
	dir = t.TempDir()
	disktest.Must(t, os.MkdirAll(filepath.Join(dir, "logs/app"), 0o755))
	disktest.WriteFile(t, filepath.Join(dir, "logs/app/a.log"), "a\n")
	disktest.WriteFile(t, filepath.Join(dir, "other.log"), "o\n")
	disktest.Must(t, os.Symlink("a.log", filepath.Join(dir, "logs/app/link.log")))
	disktest.Must(t, os.Symlink("app", filepath.Join(dir, "logs/linked")))
	return dir, Root(disktest.OpenRoot(t, dir))
}

func inode(t *testing.T, path string) Inode {
	t.Helper()
	var st unix.Statx_t
	disktest.Must(t, unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO, &st))
	return Inode{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
}

func TestIsFile(t *testing.T) {
	dir, host := tree(t)
	a := inode(t, filepath.Join(dir, "logs/app/a.log"))
	for path, want := range map[string]bool{
		"/logs/app/a.log":    true,
		"/logs/app/link.log": false, // a link to it
		"/logs/linked/a.log": false, // behind a link
		"/logs/app/b.log":    false,
		"/logs/app":          false,
		"/logs":              false,
		"/other.log":         false,
	} {
		if got := host.IsFile("/logs", path, a); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if host.IsFile("/logs", "/logs/app/a.log", Inode{Dev: a.Dev, Ino: a.Ino + 1}) || host.IsFile("/logs", "/logs/app/a.log", Inode{Dev: a.Dev + 1, Ino: a.Ino}) {
		t.Error("another file is taken for it")
	}
	if host.IsFile("/none", "/none/a.log", a) {
		t.Error("a directory that the host does not have holds it")
	}
	if d := inode(t, filepath.Join(dir, "logs/app")); host.IsFile("/logs", "/logs/app", d) {
		t.Error("a directory is taken for a file")
	}
}

// A file system mounted below the log directory is not entered.
func TestIsFileCrossesNoMount(t *testing.T) {
	privtest.Root(t)
	dir, host := tree(t)
	app := filepath.Join(dir, "logs/app")
	disktest.Must(t, unix.Mount("tmpfs", app, "tmpfs", 0, ""))
	t.Cleanup(func() { disktest.Must(t, unix.Unmount(app, unix.MNT_DETACH)) })
	disktest.WriteFile(t, filepath.Join(app, "a.log"), "a\n")
	if host.IsFile("/logs", "/logs/app/a.log", inode(t, filepath.Join(app, "a.log"))) {
		t.Error("a file of another mount is taken for one of the log directory")
	}
	if !host.IsFile("/logs/app", "/logs/app/a.log", inode(t, filepath.Join(app, "a.log"))) {
		t.Error("the mount itself is not entered")
	}
}

func TestReadFileBounds(t *testing.T) {
	dir, host := tree(t)
	disktest.WriteFile(t, filepath.Join(dir, "large"), strings.Repeat("x", MaxConfigBytes+1))
	disktest.Must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	disktest.Must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "out"))) // of the host's root, which has no /etc
	for path, want := range map[string]string{
		"/other.log": "",
		"/large":     "larger than",
		"/pipe":      "not a regular file",
		"/logs":      "not a regular file",
		"/out":       "no such file",
		"/none":      "no such file",
	} {
		_, err := host.ReadFile(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// /etc is that of the host where it is there, and else that of PID 1.
func TestWithEtc(t *testing.T) {
	dir, host := tree(t)
	if _, _, err := WithEtc(t.TempDir(), host); !errors.Is(err, unix.ENOENT) {
		t.Errorf("without /etc and without PID 1: %v", err)
	}
	proc := t.TempDir()
	disktest.Must(t, os.MkdirAll(filepath.Join(proc, "1"), 0o755))
	pid1 := t.TempDir()
	disktest.Must(t, os.MkdirAll(filepath.Join(pid1, "etc/pid1"), 0o755))
	disktest.Must(t, os.Symlink(pid1, filepath.Join(proc, "1/root")))
	if got := etc(t, proc, host); got != "pid1" {
		t.Errorf("/etc has %q, want that of PID 1", got)
	}
	disktest.Must(t, os.MkdirAll(filepath.Join(dir, "etc/host"), 0o755))
	if got := etc(t, proc, host); got != "host" {
		t.Errorf("/etc has %q, want that of the host", got)
	}
}

func etc(t *testing.T, proc string, host Root) string {
	t.Helper()
	root, done, err := WithEtc(proc, host)
	disktest.Must(t, err)
	defer done()
	names, err := root.List("/etc")
	disktest.Must(t, err)
	return strings.Join(names, " ")
}

// A walk visits each file once, enters no link and no other file system, and ends
// however deep the directories are.
func TestWalk(t *testing.T) {
	dir, host := tree(t)
	deep := filepath.Join(dir, "logs", strings.Repeat("d/", 2*maxWalkDepth))
	disktest.Must(t, os.MkdirAll(deep, 0o755))
	disktest.WriteFile(t, filepath.Join(deep, "too-deep.log"), "x")
	seen := map[string]int{}
	disktest.Must(t, host.Walk("/logs", func(d, name string, _ *unix.Statx_t) { seen[d+"/"+name]++ }))
	want := []string{"/logs/app/a.log", "/logs/app/link.log", "/logs/linked"}
	for _, path := range want {
		if seen[path] != 1 {
			t.Errorf("%s is visited %d times", path, seen[path])
		}
	}
	if len(seen) != len(want) {
		t.Errorf("visited %v, want %v", seen, want)
	}
	if err := host.Walk("/none", func(string, string, *unix.Statx_t) { t.Error("visited") }); err != nil {
		t.Error(err)
	}
}

func TestBelow(t *testing.T) {
	for _, tt := range []struct {
		p, dir, rel string
		ok          bool
	}{
		{"/var/log/a", "/var/log", "a", true},
		{"/var/log", "/var/log", "", true},
		{"/var/logs/a", "/var/log", "", false},
		{"/a", "/", "a", true},
		{"/a", "/b", "", false},
	} {
		if rel, ok := Below(tt.p, tt.dir); rel != tt.rel || ok != tt.ok {
			t.Errorf("Below(%q, %q): %q %v, want %q %v", tt.p, tt.dir, rel, ok, tt.rel, tt.ok)
		}
	}
}
