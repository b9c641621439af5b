package containerlog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/hostconfig"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

func TestParseDirtied(t *testing.T) {
	for text, want := range map[string]string{
		"nr_dirty 3\nnr_dirtied 10409059\nnr_written 7\n": "10409059 true",
		"nr_dirtied 1\n":                       "0 false", // the first line is nr_free_pages on every kernel
		"a\nnr_dirtied 1":                      "0 false", // cut
		"a\nnr_dirtied -1\n":                   "0 false",
		"a\nnr_dirtied 99999999999999999999\n": "0 false",
		"a\nnr_dirtied_more 5\n":               "0 false",
		"":                                     "0 false",
	} {
		n, ok := parseDirtied([]byte(text))
		if got := fmt.Sprint(n, " ", ok); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestWithin(t *testing.T) {
	now := disktest.Noon
	for _, tt := range []struct {
		name    string
		log     containerLog
		written uint64
		after   time.Duration
		want    bool
	}{
		{"nothing was written", containerLog{seen: true, size: 4}, 0, 0, true},
		{"less than it lacks", containerLog{seen: true, size: 4}, 5, 0, true},
		{"as much as it lacks", containerLog{seen: true, size: 4}, 6, 0, false},
		{"at its limit", containerLog{seen: true, size: 10}, 0, 0, false},
		{"not asked yet", containerLog{}, 0, 0, false},
		{"asked long ago", containerLog{seen: true, size: 4}, 0, relistEvery, false},
		{"asked in the future", containerLog{seen: true, size: 4}, 0, -time.Second, false},
	} {
		tt.log.asked, tt.log.dirtied = now, 100
		if got := tt.log.within(10, 100+tt.written, now.Add(tt.after)); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if l := (containerLog{seen: true, size: 4, asked: now, dirtied: 100}); l.within(10, 99, now) {
		t.Error("a figure that fell shows that nothing was written")
	}
}

// A log cannot grow without the figure, however it is written. Where the figure shows
// nothing, each log is asked.
func TestDirtiedForReal(t *testing.T) {
	privtest.Root(t)
	root := disktest.LogDisk(t, 200<<20)
	d := openDirtied("/proc")
	defer func() { disktest.Must(t, d.close()) }()
	dir := disktest.Open(t, filepath.Join(root, "var/log"), unix.O_PATH)
	const size = 32 << 20
	for name, write := range map[string]func(f *os.File) error{
		"small lines": func(f *os.File) error {
			for n := 0; n < size; n += 1 << 10 {
				if _, err := f.Write(bytes.Repeat([]byte("x"), 1<<10)); err != nil {
					return err
				}
			}
			return nil
		},
		"large blocks": func(f *os.File) error {
			_, err := f.Write(make([]byte, size))
			return err
		},
		"a mapping": func(f *os.File) error {
			if err := f.Truncate(size); err != nil {
				return err
			}
			m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			for i := range m {
				m[i] = 'x'
			}
			return unix.Munmap(m)
		},
	} {
		before, ok := d.bytes(dir)
		if !ok {
			t.Fatal("the figure is not known on ext4")
		}
		f, err := os.OpenFile(filepath.Join(root, "var/log/app.log"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
		disktest.Must(t, err)
		disktest.Must(t, write(f))
		disktest.Must(t, f.Close())
		after, _ := d.bytes(dir)
		if lag := uint64(runtime.NumCPU()) * 125 * uint64(os.Getpagesize()); after-before+lag < size {
			t.Errorf("%s: %d bytes were written, and the figure grew by %d", name, size, after-before)
		}
	}
	if _, ok := d.bytes(disktest.Open(t, "/dev/shm", unix.O_PATH)); ok {
		t.Error("the figure is taken for that of tmpfs")
	}
	if _, ok := openDirtied(t.TempDir()).bytes(dir); ok {
		t.Error("without /proc/vmstat the figure is known")
	}
}

// A log that rests is seen over its limit at the next look.
func TestRestingLogIsSeen(t *testing.T) {
	privtest.Root(t)
	root := disktest.LogDisk(t, 200<<20)
	_, file := disktest.PodLog(t, root, "c")
	disktest.WriteFile(t, file, "x\n")
	r, err := New("/proc", root, hostconfig.DefaultKubelet(), 0, nil)
	disktest.Must(t, err)
	t.Cleanup(func() { disktest.Must(t, r.Close()) })
	top := disktest.Open(t, filepath.Join(root, r.pods), unix.O_PATH)
	now := disktest.Noon
	r.list(now)
	for range 3 {
		if due := r.due(t.Context(), top, false, now); len(due) != 0 {
			t.Fatalf("a log of 2 bytes is due: %+v", due)
		}
		now = now.Add(PollInterval)
	}
	disktest.Must(t, os.WriteFile(file, bytes.Repeat([]byte("x"), 16<<20), 0o640))
	if due := r.due(t.Context(), top, false, now); len(due) != 1 {
		t.Error("the log has 16 MiB, and is not due")
	}
}
