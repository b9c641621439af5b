package logs

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/hostfs"
)

// zstdBomb is a frame of blocks that repeat one byte, with a window of 1<<log.
func zstdBomb(log, blocks int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte((log - 10) << 3)}
	const size = 128 << 10
	for i := range blocks {
		h := uint32(1<<1 | size<<3)
		if i == blocks-1 {
			h |= 1
		}
		b = append(binary.LittleEndian.AppendUint32(b, h)[:len(b)+3], 'x')
	}
	return b
}

// emptyMember is the smallest member that a gzip file may have.
var emptyMember = append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 3, 0}, make([]byte, 8)...)

func gzipOf(t testing.TB, mib int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, 1<<20)
	for range mib {
		if _, err := w.Write(zero); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// peak runs f and returns by how much the heap grew at most meanwhile.
func peak(f func()) int64 {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		top := uint64(0)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			runtime.ReadMemStats(&now)
			top = max(top, now.HeapInuse)
			select {
			case <-done:
				most <- top
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(done)
	return int64(<-most) - int64(before.HeapInuse)
}

// No archive takes more memory than a window, nor more than a budget of bytes.
func TestArchiveBombs(t *testing.T) {
	for name, tt := range map[string]struct {
		file    string
		content []byte
		skipped bool // it is not read to its end, and not reported as corrupt
	}{
		"zstd, a window of 64 MiB":   {"a.log.1.zst", zstdBomb(26, 1280), true},
		"zstd, a window of 16 MiB":   {"a.log.1.zst", zstdBomb(24, 1280), true},
		"zstd, a window of 8 MiB":    {"a.log.1.zst", zstdBomb(23, 1280), false},
		"zstd, 2 GiB come out":       {"a.log.1.zst", zstdBomb(23, 16<<10), true},
		"gzip, empty members":        {"a.log.1.gz", bytes.Repeat(emptyMember, 1<<18), true},
		"gzip, some empty members":   {"a.log.1.gz", bytes.Repeat(emptyMember, 1000), false},
		"gzip, 128 MiB come out":     {"a.log.1.gz", gzipOf(t, 128), false},
		"gzip, an endless file name": {"a.log.1.gz", append([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff}, bytes.Repeat([]byte("x"), 8<<20)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			host := t.TempDir()
			root := hostfs.Root(disktest.OpenRoot(t, host))
			at := filepath.Join(host, "var/log", tt.file)
			disktest.Append(t, at, 0)
			if err := os.WriteFile(at, tt.content, 0o644); err != nil {
				t.Fatal(err)
			}
			tr := newTree()
			if err := tr.Update(root, time.Now().Add(time.Hour), false); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			grown := peak(func() { tr.CheckArchives(t.Context(), root, 16<<20) })
			if grown > 24<<20 { // a window, twice in the worst case, and buffers
				t.Errorf("%d MiB more on the heap", grown>>20)
			}
			t.Logf("%d MiB, %v", grown>>20, time.Since(began))
			corrupt := tr.CorruptArchives()
			if got := tr.Skipped[skipUnchecked] == 1; got != tt.skipped || tt.skipped && len(corrupt) > 0 {
				t.Errorf("skipped %v, corrupt %+v", tr.Skipped, corrupt)
			}
		})
	}
}

// Hard links of one bomb are read once, also where the budget ends with it.
func TestHardLinkedBomb(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	dir := filepath.Join(host, "var/log/app")
	first := filepath.Join(dir, "a.log.0.gz")
	disktest.Append(t, first, 0)
	if err := os.WriteFile(first, bytes.Repeat(emptyMember, 1<<18), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 3_000 {
		if err := os.Link(first, filepath.Join(dir, fmt.Sprintf("a.log.%d.gz", i+1))); err != nil {
			t.Fatal(err)
		}
	}
	tr := newTree()
	if err := tr.Update(root, time.Now().Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	tr.CheckArchives(t.Context(), root, 1)
	if len(tr.queue) != 0 || tr.Skipped[skipUnchecked] != 1 {
		t.Errorf("%d of 3,001 names are left, skipped %v", len(tr.queue), tr.Skipped)
	}
	t.Log(time.Since(began))
}

// A pass that has ended reads nothing, and loses nothing.
func TestArchivesEndWithTheContext(t *testing.T) {
	host := t.TempDir()
	root := hostfs.Root(disktest.OpenRoot(t, host))
	for _, name := range []string{"a.1.gz", "b.1.gz"} {
		disktest.Append(t, filepath.Join(host, "var/log", name), 10)
	}
	tr := newTree()
	if err := tr.Update(root, time.Now().Add(time.Hour), false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tr.CheckArchives(ctx, root, 1<<30)
	if len(tr.queue) != 2 || len(tr.CorruptArchives()) != 0 {
		t.Errorf("%d left of 2, corrupt %v", len(tr.queue), tr.CorruptArchives())
	}
	tr.CheckArchives(t.Context(), root, 1<<30)
	if len(tr.queue) != 0 || len(tr.CorruptArchives()) != 2 {
		t.Errorf("%d left, corrupt %v", len(tr.queue), tr.CorruptArchives())
	}
}
