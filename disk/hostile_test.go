package disk

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

// Somebody exchanges the directory, or the log in it, for a link that leads out,
// again and again: nothing outside is ever touched, and nothing made there.
func TestRotateSwap(t *testing.T) {
	for _, what := range []string{"directory", "log"} {
		t.Run(what, func(t *testing.T) {
			top := t.TempDir()
			logs, outside := filepath.Join(top, "logs"), filepath.Join(top, "outside")
			dir := filepath.Join(logs, "app")
			must(t, os.MkdirAll(dir, 0o755))
			must(t, os.MkdirAll(outside, 0o755))
			put(t, filepath.Join(outside, "app.log"), "precious\n")
			put(t, filepath.Join(dir, "app.log"), "x\n")
			var a, b string
			if what == "directory" {
				a, b = dir, filepath.Join(logs, "link")
				must(t, os.Symlink(outside, b))
			} else {
				a, b = filepath.Join(dir, "app.log"), filepath.Join(dir, "link")
				must(t, os.Symlink(filepath.Join(outside, "app.log"), b))
			}
			var stop atomic.Bool
			var attacker sync.WaitGroup
			attacker.Go(func() {
				for !stop.Load() {
					_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
				}
			})
			r := newRotator(t, logs)
			rotated := 0
			for i := range scale(100_000) {
				if try(r, logs, filepath.Join(logs, "app"), fmt.Sprintf("app.log.%d", i)) == nil {
					rotated++
				}
			}
			stop.Store(true)
			attacker.Wait()
			if got := ls(t, outside); !slices.Equal(got, []string{"app.log"}) || content(t, filepath.Join(outside, "app.log")) != "precious\n" {
				t.Errorf("it escaped: %v", got)
			}
			t.Logf("%d of %d tries succeeded, none outside", rotated, scale(100_000))
			if rotated == 0 {
				t.Error("no try succeeded: this proves nothing")
			}
		})
	}
}

// try gives the log a new file, as Rotate does, and removes the archive.
func try(r *Rotator, top, dir, archive string) error {
	d, err := openFolder(r.rootfs, []string{top}, dir)
	if err != nil {
		return err
	}
	defer d.close()
	live, _, err := d.file("app.log", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer live.Close()
	if err := d.replace(live, "app.log", archive); err != nil {
		return err
	}
	_ = live.Close()
	_, err = d.expire(archive)
	return err
}

// Paths beyond PATH_MAX cannot be named, and nobody comes to harm.
func TestRotateLongPath(t *testing.T) {
	dir := t.TempDir()
	long := dir
	for len(long) < unix.PathMax+100 {
		long = filepath.Join(long, strings.Repeat("d", 200))
	}
	if _, err := newRotator(t, dir).Rotate(t.Context(), filepath.Join(long, "app.log"), How{}, noon); err == nil {
		t.Error("a path beyond 4096 bytes was rotated")
	}
}

// What chattr(1) has closed is refused, not opened up.
func TestRotateImmutable(t *testing.T) {
	privtest.Root(t)
	root, _ := host(t, 64<<20)
	dir := filepath.Join(root, "var/log")
	for _, flag := range []string{"i", "a"} {
		file := filepath.Join(dir, flag+".log")
		put(t, file, "x\n")
		run(t, "chattr", "+"+flag, file)
		_, err := newRotator(t, dir).Rotate(t.Context(), file, How{}, noon)
		if err == nil || !strings.Contains(err.Error(), "immutable or append-only") {
			t.Errorf("chattr +%s: %v", flag, err)
		}
		run(t, "chattr", "-"+flag, file)
	}
}

// TestHelperOnce settles, rotates and settles, once.
func TestHelperOnce(t *testing.T) {
	if !isHelper(t) {
		return // it is started by other tests
	}
	runtime.LockOSThread() // strace counts system calls by thread
	file := os.Getenv("FILE")
	r := newRotator(t, filepath.Dir(file))
	how := How{Compress: Compression(os.Getenv("COMPRESS")), InPlace: os.Getenv("INPLACE") != "", Reopen: Reopen{PID: envInt("PID")}}
	_, _ = r.Settle(context.Background(), file, how, time.Now())
	_, _ = r.Rotate(context.Background(), file, how, time.Now())
	_, _ = r.Settle(context.Background(), file, how, time.Now())
}

// numbered writes n lines as TestHelperWriter does.
func numbered(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%010d the quick brown fox jumps over the lazy dog, again!\n", i)
	}
	return b.Bytes()
}

// One system call after another fails for want of space, or is the last that the
// process makes. Whatever it is, no archive is broken, no line is gone, and the
// next run finishes.
func TestRotateFailing(t *testing.T) {
	privtest.Root(t)
	const lines = 5000
	original := numbered(lines)
	exe, err := os.Executable()
	must(t, err)
	for _, way := range []struct{ name, compress, inPlace string }{{"exchange", "gzip", ""}, {"in place", "gzip", "1"}} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			runs := 0
			for _, call := range []string{"fchown", "fchmod", "renameat2", "fsync", "utimensat", "unlinkat", "write", "fallocate", "ftruncate"} {
				for _, failure := range []string{"error=ENOSPC", "signal=KILL"} {
					for when := 1; when <= 3; when++ {
						dir := t.TempDir()
						file := filepath.Join(dir, "app.log")
						must(t, os.WriteFile(file, original, 0o640))
						cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace="+call,
							"-e", fmt.Sprintf("inject=%s:%s:when=%d", call, failure, when), exe, "-test.run=^TestHelperOnce$")
						cmd.Env = append(os.Environ(), "NODETUNE_TEST_HELPER=TestHelperOnce", "FILE="+file, "COMPRESS="+way.compress, "INPLACE="+way.inPlace)
						_ = cmd.Run()
						r := newRotator(t, dir)
						how := How{Compress: Compression(way.compress), InPlace: way.inPlace != ""}
						finish(t, r, file, how)
						if got := count(t, dir, "app.log", lines); got.missing+got.duplicated+got.garbled != 0 {
							t.Fatalf("%s, %s, call %d: %v, %v", call, failure, when, got, ls(t, dir))
						}
						for _, n := range ls(t, dir) {
							if n[0] == '.' {
								t.Errorf("%s, %s, call %d: left %s", call, failure, when, n)
							}
						}
						runs++
					}
				}
			}
			t.Logf("%d runs, one failing system call each: 0 lines missing, 0 archives broken", runs)
		})
	}
}

// On a disk with less and less left, a rotation succeeds or changes nothing, and
// never wedges: with space again it goes on.
func TestRotateFullForReal(t *testing.T) {
	privtest.Root(t)
	root, _ := host(t, 16<<20)
	dir := filepath.Join(root, "var/log")
	const lines = 20_000
	original := numbered(lines)
	tried := 0
	for left := int64(0); left <= 512<<10; left += 16 << 10 {
		sub := filepath.Join(dir, fmt.Sprint(left))
		must(t, os.Mkdir(sub, 0o755))
		file := filepath.Join(sub, "app.log")
		must(t, os.WriteFile(file, original, 0o640))
		filler := filepath.Join(dir, "filler")
		var st unix.Statfs_t
		must(t, unix.Statfs(dir, &st))
		f, err := os.Create(filler)
		must(t, err)
		// Root may use what is reserved, so that f_bfree counts here.
		if n := int64(st.Bfree)*st.Bsize - left; n > 0 {
			if err := unix.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
				_ = unix.Fallocate(int(f.Fd()), 0, 0, n-64<<10)
			}
		}
		_ = f.Close()
		r := newRotator(t, sub)
		_, _ = r.Rotate(t.Context(), file, How{}, time.Now())
		_, _ = r.Settle(t.Context(), file, How{Compress: Gzip}, time.Now())
		if got := count(t, sub, "app.log", lines); got.missing+got.duplicated+got.garbled != 0 {
			t.Fatalf("with %d bytes left: %v", left, got)
		}
		must(t, os.Remove(filler))
		finish(t, r, file, How{Compress: Gzip})
		if got := count(t, sub, "app.log", lines); got.missing+got.duplicated+got.garbled != 0 {
			t.Fatalf("after %d bytes were left: %v", left, got)
		}
		must(t, os.RemoveAll(sub))
		tried++
	}
	t.Logf("%d fill levels", tried)
}
