package hostfs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
)

// openEach is what kernels before 5.6 get; it refuses the same.
func TestOpenEach(t *testing.T) {
	host := t.TempDir()
	root := Root(disktest.OpenRoot(t, host))
	if err := os.MkdirAll(filepath.Join(host, "a/b/c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("b", filepath.Join(host, "a/l")); err != nil {
		t.Fatal(err)
	}
	for rel, want := range map[string]error{"a/b/c": nil, ".": nil, "a/l/c": unix.ENOTDIR, "a/../a": unix.EXDEV, "a/x": unix.ENOENT} {
		fd, err := openEach(int(root), rel, unix.O_RDONLY, false)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", rel, err, want)
		}
		if err == nil {
			_ = unix.Close(fd)
		}
	}
	// Beyond the mount that a path begins on.
	slash := disktest.Open(t, "/", unix.O_PATH)
	if fd, err := openEach(slash, "proc/self", unix.O_RDONLY, false); !errors.Is(err, unix.EXDEV) {
		t.Errorf("/proc from /: %d, %v, want EXDEV", fd, err)
	}
	if fd, err := OpenBeneath(slash, []byte("proc\x00"), unix.O_RDONLY); !errors.Is(err, unix.EXDEV) {
		t.Errorf("/proc from /: %d, %v, want EXDEV", fd, err)
	}
}
