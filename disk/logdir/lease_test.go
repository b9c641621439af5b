package logdir

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/disktest"
)

func wantIdle(t *testing.T, fd int, want Usage) {
	t.Helper()
	if got, err := Probe(fd); err != nil || got != want {
		t.Errorf("probe: %v, %v; want %v", got, err, want)
	}
	if kind, err := unix.FcntlInt(uintptr(fd), unix.F_GETLEASE, 0); err != nil || kind != unix.F_UNLCK {
		t.Errorf("a lease is still held after the probe: %d, %v", kind, err)
	}
}

func TestProbe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd := disktest.Open(t, path, unix.O_RDONLY)
	wantIdle(t, fd, Unused)

	_ = disktest.Open(t, path, unix.O_PATH) // a name, not an opening
	wantIdle(t, fd, Unused)

	writer := disktest.Open(t, path, unix.O_WRONLY|unix.O_APPEND)
	wantIdle(t, fd, UsedByWriter)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	wantIdle(t, fd, UsedByWriter) // it follows the file, not the name
	_ = unix.Close(writer)

	reader := disktest.Open(t, path+".1", unix.O_RDONLY)
	wantIdle(t, fd, UsedByReader)
	_ = unix.Close(reader)
	wantIdle(t, fd, Unused)

	rw := disktest.Open(t, path+".1", unix.O_RDWR)
	m, err := unix.Mmap(rw, 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(rw)
	wantIdle(t, fd, UsedByWriter) // a mapping writes without a descriptor
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
	wantIdle(t, fd, Unused)
}

// What has no lease gives an error and never Unheld.
func TestProbeNoAnswer(t *testing.T) {
	dir := disktest.Open(t, t.TempDir(), unix.O_RDONLY|unix.O_DIRECTORY)
	if got, err := Probe(dir); err == nil || got != UsedByWriter {
		t.Errorf("probe of a directory: %v, %v; want an error", got, err)
	}
}

func BenchmarkProbe(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	fd := disktest.Open(b, path, unix.O_RDONLY)
	for _, c := range []struct {
		name  string
		flags int
		want  Usage
	}{{"unheld", -1, Unused}, {"held", unix.O_RDONLY, UsedByReader}, {"written", unix.O_WRONLY, UsedByWriter}} {
		b.Run(c.name, func(b *testing.B) {
			if c.flags >= 0 {
				_ = disktest.Open(b, path, c.flags)
			}
			b.ReportAllocs()
			for b.Loop() {
				if got, err := Probe(fd); got != c.want || err != nil {
					b.Fatal(got, err)
				}
			}
		})
	}
}
