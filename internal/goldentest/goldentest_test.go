package goldentest

import (
	"os"
	"path/filepath"
	"testing"
)

// recorder takes the place of the test that calls this package.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Fatal(...any)          { r.failed = true; panic(r) }
func (r *recorder) Fatalf(string, ...any) { r.failed = true; panic(r) }

func failed(check func(testing.TB)) bool {
	r := &recorder{}
	func() {
		defer func() { _ = recover() }()
		check(r)
	}()
	return r.failed
}

func TestCompare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "testdata", "a.golden")
	for _, step := range []struct {
		name, got    string
		updating, ok bool
	}{
		{"no file", "1\n", false, false},
		{"write it", "1\n", true, true},
		{"equal", "1\n", false, true},
		{"differs", "2\n", false, false},
		{"differs in its last newline", "1", false, false},
		{"write again", "2\n", true, true},
		{"equal again", "2\n", false, true},
	} {
		if got := !failed(func(tb testing.TB) { compare(tb, path, step.got, step.updating) }); got != step.ok {
			t.Errorf("%s: passed %v, want %v", step.name, got, step.ok)
		}
	}
}

func TestCompareSection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	const begin, end = "<!-- begin -->\n", "<!-- end -->\n"
	for _, step := range []struct {
		name, file, got string
		updating, ok    bool
		after           string
	}{
		{"no section", "text\n", "x\n", true, false, "text\n"},
		{"no end", "text\n" + begin + "x\n", "x\n", true, false, "text\n" + begin + "x\n"},
		{"equal", "a\n" + begin + "x\n" + end + "b\n", "x\n", false, true, "a\n" + begin + "x\n" + end + "b\n"},
		{"differs", "a\n" + begin + "x\n" + end + "b\n", "y\n", false, false, "a\n" + begin + "x\n" + end + "b\n"},
		{"update", "a\n" + begin + "x\n" + end + "b\n", "y\n", true, true, "a\n" + begin + "y\n" + end + "b\n"},
	} {
		if err := os.WriteFile(path, []byte(step.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := !failed(func(tb testing.TB) { compareSection(tb, path, begin, end, step.got, step.updating) }); got != step.ok {
			t.Errorf("%s: passed %v, want %v", step.name, got, step.ok)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != step.after {
			t.Errorf("%s: the file is now %q, %v; want %q", step.name, b, err, step.after)
		}
	}
}

func TestRoot(t *testing.T) {
	if _, err := os.Stat(filepath.Join(Root(t), "internal", "goldentest", "goldentest.go")); err != nil {
		t.Error(err)
	}
}
