package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func open(t *testing.T) (*os.Root, string) {
	t.Helper()
	path := t.TempDir()
	dir, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return dir, path
}

func TestWriteReplaces(t *testing.T) {
	dir, path := open(t)
	for _, content := range []string{"one", "two, which is longer", ""} {
		if err := Write(dir, "f", []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(path, "f"))
		if err != nil || string(got) != content {
			t.Errorf("read %q, %v, want %q", got, err, content)
		}
	}
	if names, _ := os.ReadDir(path); len(names) != 1 {
		t.Errorf("%d files are left, want f alone", len(names))
	}
}

func TestWriteDoesNotFollowLinks(t *testing.T) {
	dir, path := open(t)
	outside := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(outside, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"f", ".f.tmp"} {
		if err := os.Symlink(outside, filepath.Join(path, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Write(dir, "f", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(outside); string(got) != "keep" {
		t.Errorf("the link was followed: the file outside holds %q", got)
	}
	if got, _ := os.ReadFile(filepath.Join(path, "f")); string(got) != "new" {
		t.Errorf("f holds %q, want new", got)
	}
}

func TestWriteKeepsTheOldFileOnError(t *testing.T) {
	dir, path := open(t)
	if err := Write(dir, "f", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, ".f.tmp", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, "f", []byte("new"), 0o600); err == nil {
		t.Error("no error, though the temporary name is taken")
	}
	if got, _ := os.ReadFile(filepath.Join(path, "f")); string(got) != "old" {
		t.Errorf("f holds %q, want old", got)
	}
}

func TestRemove(t *testing.T) {
	dir, path := open(t)
	if err := Write(dir, "f", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is gone already
		if err := Remove(dir, "f"); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(path, "f")); !os.IsNotExist(err) {
		t.Errorf("f is still there: %v", err)
	}
}

// What cannot be written or removed is reported with its name, and stays as it is.
func TestErrors(t *testing.T) {
	dir, path := open(t)
	if err := os.MkdirAll(filepath.Join(path, "taken", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a directory has the name":       Write(dir, "taken", []byte("new"), 0o600),
		"there is no such directory":     Write(dir, "missing/f", nil, 0o600),
		"remove a directory with a file": Remove(dir, "taken"),
		"a name outside":                 Write(dir, "../f", nil, 0o600),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	names, err := os.ReadDir(filepath.Join(path, "taken"))
	if err != nil || len(names) != 1 {
		t.Errorf("%v, %v are left in the directory", names, err)
	}
}
