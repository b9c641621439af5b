package disktest

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Noon is a time at noon, UTC.
var Noon = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

// WriteFile writes the file, or fails the test.
func WriteFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

// ReadFile returns what is in the file, or fails the test.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// List returns the names in dir, sorted, or fails the test.
func List(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// Must fails the test if err is not nil.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Append appends n zero bytes to the file. It makes the file and its directory where
// they are missing.
func Append(t testing.TB, path string, n int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Open opens the file until the test ends, and returns the file descriptor.
func Open(t testing.TB, path string, flags int) int {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// Subdir makes a directory in dir that every user may enter, and returns its path.
func Subdir(t *testing.T, dir string) string {
	t.Helper()
	d, err := os.MkdirTemp(dir, "")
	Must(t, err)
	Must(t, os.Chmod(d, 0o755))
	return d
}

// Ptr returns a pointer to a copy of v.
func Ptr[T any](v T) *T { return &v }

// Epoch is the time at which tests with a clock of their own begin.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Fill writes n MiB that no filesystem shrinks, last written at the time.
func Fill(t testing.TB, path string, n int, at time.Time) {
	t.Helper()
	Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	Must(t, os.WriteFile(path, bytes.Repeat([]byte("0123456789abcde\n"), n<<16), 0o640))
	Must(t, os.Chtimes(path, at, at))
}
