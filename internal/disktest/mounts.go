package disktest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Ext4 mounts a new filesystem of the size at dir.
func Ext4(t testing.TB, dir string, size int64) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	Run(t, "mkfs.ext4", "-q", "-m", "10", image)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	Run(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
}

// HungMount mounts at dir a FUSE filesystem whose daemon never answers, as a dead NFS
// server.
func HungMount(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fuse := Open(t, "/dev/fuse", unix.O_RDWR)
	if err := unix.Mount("dead", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
		t.Fatalf("mount fuse: %v", err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH) // ends the call that hangs
	})
}

// LogDisk returns a root with an ext4 of its own at /var/log.
func LogDisk(t testing.TB, size int64) (root string) {
	t.Helper()
	root = t.TempDir()
	Ext4(t, filepath.Join(root, "var/log"), size)
	Must(t, os.Chmod(filepath.Join(root, "var/log"), 0o755))
	return root
}

// OpenRoot opens a directory that stands for the root of a host.
func OpenRoot(t testing.TB, dir string) (fd int) {
	t.Helper()
	return Open(t, dir, unix.O_PATH|unix.O_DIRECTORY)
}
