package workload

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// A directory that hangs costs one deadline. The names known before stay, the
// other directory is listed, and the late result is used when it comes.
func TestIndexHungDirectory(t *testing.T) {
	root := node(t)
	synctest.Test(t, func(t *testing.T) {
		x := NewIndex(root)
		if err := x.Refresh(); err != nil {
			t.Fatal(err)
		}
		w := Workload{PodUID: uid, ContainerID: id}
		before := x.Named(w)
		release := make(chan struct{})
		var started atomic.Int32
		x.containers.list = func(string, stamp) listed {
			started.Add(1)
			<-release
			return listed{by: map[string]Workload{id: {Namespace: "n", Pod: "p", Container: "late", ContainerID: id}}}
		}
		for i, want := range []time.Duration{listDeadline, 0, 0} {
			began := time.Now()
			err := x.Refresh()
			if path := (*fs.PathError)(nil); !errors.As(err, &path) || path.Path != "/"+ContainerLogs || strings.Contains(err.Error(), PodLogs) {
				t.Errorf("call %d: %v", i, err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("call %d took %v, want %v", i, took, want)
			}
			if got := x.Named(w); got != before {
				t.Errorf("call %d: %+v, want %+v", i, got, before)
			}
		}
		if started.Load() != 1 {
			t.Errorf("%d listings were started, want 1", started.Load())
		}
		close(release)
		synctest.Wait()
		if err := x.Refresh(); err != nil {
			t.Error(err)
		}
		if got := x.Named(w).Container; got != "late" || started.Load() != 2 {
			t.Errorf("container %q, %d listings", got, started.Load())
		}
	})
}

// More names than a node has pods: memory is bounded, and they are counted.
func TestIndexBudget(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, PodLogs)
	mkdir(t, dir)
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const names = maxNames + 2_000
	for i := range names {
		name := "n_" + strings.Repeat("p", 200) + "_" + strings.Repeat("0", 24) + hex8(i)
		if err := unix.Mkdirat(fd, name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	x := NewIndex(root)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if err := x.Refresh(); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 6<<20 {
		t.Errorf("%d KiB for %d names", grown>>10, names)
	}
	if x.Omitted() != names-maxNames || len(x.pods.by) != maxNames {
		t.Errorf("%d kept, %d omitted", len(x.pods.by), x.Omitted())
	}
	runtime.KeepAlive(x)
	_ = os.RemoveAll(dir)
}

func hex8(i int) string {
	const digits = "0123456789abcdef"
	b := []byte("00000000")
	for at := len(b) - 1; i > 0; at, i = at-1, i/16 {
		b[at] = digits[i%16]
	}
	return string(b)
}
