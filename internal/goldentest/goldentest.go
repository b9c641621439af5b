// Package goldentest compares what a test produced with a file that is kept in
// the repository. With UPDATE_GOLDEN=1 in the environment the file is written
// instead.
package goldentest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Env is the variable that makes tests write golden files: UPDATE_GOLDEN=1.
const Env = "UPDATE_GOLDEN"

// Updating reports whether golden files are written and not compared.
func Updating() bool { return os.Getenv(Env) == "1" }

// Compare reports an error if got is not the content of the file called name in
// the testdata directory of the package.
func Compare(t testing.TB, name, got string) {
	t.Helper()
	compare(t, filepath.Join("testdata", name), got, Updating())
}

func compare(t testing.TB, path, got string, updating bool) {
	t.Helper()
	if updating {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run the test with %s=1 to write the file", err, Env)
	}
	if got != string(want) {
		t.Errorf("got differs from %s; if that is intended, run the test with %s=1. Got:\n%s", path, Env, got)
	}
}

// CompareSection reports an error if the text between the lines begin and end in
// the file at path is not got. Documentation quotes generated text this way.
func CompareSection(t testing.TB, path, begin, end, got string) {
	t.Helper()
	compareSection(t, path, begin, end, got, Updating())
}

func compareSection(t testing.TB, path, begin, end, got string, updating bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(b), begin)
	section, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no section from %q to %q", path, begin, end)
	}
	if section == got {
		return
	}
	if !updating {
		t.Errorf("the section %q of %s is out of date: run the test with %s=1. Want:\n%s", begin, path, Env, got)
		return
	}
	if err := os.WriteFile(path, []byte(before+begin+got+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Root returns the directory of the module's go.mod, for tests that read files
// of other directories.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		switch {
		case err == nil:
			return dir
		case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir:
			t.Fatalf("find go.mod above the test: %v", err)
		}
		dir = filepath.Dir(dir)
	}
}
