package rotate

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/disk/archive"
	"github.com/nodetune/nodetune/disk/logdir"
	"github.com/nodetune/nodetune/internal/disktest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// An attacker exchanges the directory, or the log in it, for a link that leads
// out, again and again. nodetune touches nothing outside and makes nothing there.
func TestRotateSwap(t *testing.T) {
	for _, what := range []string{"directory", "log"} {
		t.Run(what, func(t *testing.T) {
			top := t.TempDir()
			logs, outside := filepath.Join(top, "logs"), filepath.Join(top, "outside")
			dir := filepath.Join(logs, "app")
			disktest.Must(t, os.MkdirAll(dir, 0o755))
			disktest.Must(t, os.MkdirAll(outside, 0o755))
			disktest.WriteFile(t, filepath.Join(outside, "app.log"), "precious\n")
			disktest.WriteFile(t, filepath.Join(dir, "app.log"), "x\n")
			var a, b string
			if what == "directory" {
				a, b = dir, filepath.Join(logs, "link")
				disktest.Must(t, os.Symlink(outside, b))
			} else {
				a, b = filepath.Join(dir, "app.log"), filepath.Join(dir, "link")
				disktest.Must(t, os.Symlink(filepath.Join(outside, "app.log"), b))
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
			for i := range disktest.Scale(100_000) {
				if try(r, logs, filepath.Join(logs, "app"), fmt.Sprintf("app.log.%d", i)) == nil {
					rotated++
				}
			}
			stop.Store(true)
			attacker.Wait()
			if got := disktest.List(t, outside); !slices.Equal(got, []string{"app.log"}) || disktest.ReadFile(t, filepath.Join(outside, "app.log")) != "precious\n" {
				t.Errorf("it escaped: %v", got)
			}
			t.Logf("%d of %d tries succeeded, none outside", rotated, disktest.Scale(100_000))
			if rotated == 0 {
				t.Error("no try succeeded: this proves nothing")
			}
		})
	}
}

// try gives the log a new file, as Rotate does, and removes the archive.
func try(r *Rotator, top, dir, archiveName string) error {
	d, err := logdir.OpenDir(r.Host.Rootfs, []string{top}, dir)
	if err != nil {
		return err
	}
	defer d.Close()
	live, _, err := d.OpenFile("app.log", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer live.Close()
	if err := ReplaceLog(d, live, "app.log", archiveName); err != nil {
		return err
	}
	_ = live.Close()
	_, err = removeArchive(d, archiveName)
	return err
}

// Paths beyond PATH_MAX cannot be named, and nodetune does no harm there.
func TestRotateLongPath(t *testing.T) {
	dir := t.TempDir()
	long := dir
	for len(long) < unix.PathMax+100 {
		long = filepath.Join(long, strings.Repeat("d", 200))
	}
	if _, err := newRotator(t, dir).Rotate(t.Context(), filepath.Join(long, "app.log"), Options{}, disktest.Noon); err == nil {
		t.Error("a path beyond 4096 bytes was rotated")
	}
}

// What chattr(1) has closed is refused, not opened up.
func TestRotateImmutable(t *testing.T) {
	privtest.Root(t)
	root := disktest.LogDisk(t, 64<<20)
	dir := filepath.Join(root, "var/log")
	for _, flag := range []string{"i", "a"} {
		file := filepath.Join(dir, flag+".log")
		disktest.WriteFile(t, file, "x\n")
		disktest.Run(t, "chattr", "+"+flag, file)
		_, err := newRotator(t, dir).Rotate(t.Context(), file, Options{}, disktest.Noon)
		if err == nil || !strings.Contains(err.Error(), "immutable or append-only") {
			t.Errorf("chattr +%s: %v", flag, err)
		}
		disktest.Run(t, "chattr", "-"+flag, file)
	}
}

// TestHelperOnce settles, rotates and settles, once; with AWAIT, after it has
// received SIGUSR1.
func TestHelperOnce(t *testing.T) {
	if !disktest.IsHelper(t) {
		return // it is started by other tests
	}
	runtime.LockOSThread() // strace counts system calls by thread
	if os.Getenv("AWAIT") != "" {
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, unix.SIGUSR1)
		fmt.Fprintln(os.Stdout, "ready")
		<-asked
	}
	file := os.Getenv("FILE")
	r := newRotator(t, filepath.Dir(file))
	how := Options{Compress: archive.Compression(os.Getenv("COMPRESS")), InPlace: os.Getenv("INPLACE") != "", Reopen: Reopen{PID: disktest.EnvInt("PID")}}
	_, _ = r.FinishRotation(context.Background(), file, how, time.Now())
	_, _ = r.Rotate(context.Background(), file, how, time.Now())
	_, _ = r.FinishRotation(context.Background(), file, how, time.Now())
	os.Exit(0) // what a test does at its end is not of interest
}

// once runs TestHelperOnce with the arguments for strace(1), from the moment at
// which it begins, and returns what strace wrote. It fails the test if that does
// not come to an end, or panics.
func once(t *testing.T, file string, how Options, arg ...string) string {
	t.Helper()
	env := []string{"AWAIT=1", "FILE=" + file, "COMPRESS=" + string(how.Compress)}
	if how.InPlace {
		env = append(env, "INPLACE=1")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := disktest.Helper(t, "TestHelperOnce", env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	disktest.Must(t, err)
	disktest.Must(t, cmd.Start())
	defer cmd.Process.Kill()
	if s, err := bufio.NewReader(out).ReadString('\n'); s != "ready\n" {
		t.Fatalf("helper: %q, %v", s, err)
	}
	traceFile := filepath.Join(t.TempDir(), "strace")
	trace := exec.CommandContext(ctx, "strace", append(arg, "-f", "-o", traceFile, "-p", fmt.Sprint(cmd.Process.Pid))...)
	var complaint bytes.Buffer
	trace.Stderr = &complaint
	disktest.Must(t, trace.Start())
	for !isTraced(cmd.Process.Pid) {
		if time.Sleep(time.Millisecond); ctx.Err() != nil {
			t.Fatalf("strace does not attach: %s", &complaint)
		}
	}
	disktest.Must(t, cmd.Process.Signal(unix.SIGUSR1))
	_ = trace.Wait() // it ends when the helper does
	if ctx.Err() != nil {
		t.Fatalf("strace %q: not at an end after a minute", arg)
	}
	_ = cmd.Wait()
	if strings.Contains(stderr.String(), "panic: ") {
		t.Fatalf("strace %q: %s", arg, &stderr)
	}
	b, err := os.ReadFile(traceFile)
	disktest.Must(t, err)
	return string(b)
}

// isTraced reports whether every thread of a process has a tracer, proc(5).
func isTraced(pid int) bool {
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, file := range all {
		if b, err := os.ReadFile(file); err != nil || bytes.Contains(b, []byte("\nTracerPid:\t0\n")) {
			return false
		}
	}
	return err == nil && len(all) > 0
}

// ofTheRuntime are the calls by which Go's runtime gets memory, threads, timers
// and signals, and waits. None has anything to do with a filesystem, and without
// some of them it ends the process.
var ofTheRuntime = regexp.MustCompile(`^(mmap|munmap|mprotect|madvise|mincore|brk|futex|clone|clone3|set_robust_list|rseq|` +
	`rt_sig.*|sigaltstack|tgkill|restart_syscall|gettid|getpid|sched_.*|nanosleep|clock_.*|timer_.*|setitimer|prctl|prlimit64|` +
	`epoll_.*|eventfd2|pipe2|exit|exit_group)$`)

// callsOf returns the system calls that a trace has beside the runtime's, and how
// often the thread that made most of one has made it.
func callsOf(trace string) map[string]int {
	by, most := map[string]int{}, map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^(\d+) +(\w+)\(`).FindAllStringSubmatch(trace, -1) {
		if call := m[2]; !ofTheRuntime.MatchString(call) {
			by[m[1]+call]++
			most[call] = max(most[call], by[m[1]+call])
		}
	}
	return most
}

// Every system call that a rotation with its compression makes fails for want of
// space: the first of its kind, the last, some in between, and all. Those that
// change something are, besides, the last that the process makes. Whatever it is,
// it ends, no archive is broken, no line is gone, and the next run finishes.
func TestRotateFailing(t *testing.T) {
	privtest.Root(t)
	const lines = 5000
	original := disktest.NumberedLines(lines)
	for name, how := range map[string]Options{"exchange": {Compress: archive.Gzip}, "in place": {Compress: archive.Zstd, InPlace: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			try := func(arg ...string) (trace string) {
				dir := t.TempDir()
				file := filepath.Join(dir, "app.log")
				disktest.Must(t, os.WriteFile(file, original, 0o640))
				_ = unix.Setxattr(file, "user.team", []byte("blue"), 0) // where it can have one
				trace = once(t, file, how, arg...)
				finish(t, newRotator(t, dir), file, how)
				if got := disktest.Count(t, dir, "app.log", lines); got.Missing+got.Duplicated+got.Garbled != 0 {
					t.Fatalf("%q: %v, %v", arg, got, disktest.List(t, dir))
				}
				for _, n := range disktest.List(t, dir) {
					if n[0] == '.' {
						t.Errorf("%q: left %s", arg, n)
					}
				}
				disktest.Must(t, os.RemoveAll(dir))
				return trace
			}
			runs := 0
			fail := func(call, failure, when string) (happened bool) {
				runs++
				trace := try("-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:%s:when=%s", call, failure, when))
				return strings.Contains(trace, "(INJECTED)") || strings.Contains(trace, "killed by SIGKILL")
			}
			all := callsOf(try())
			always := []string{"openat", "read", "write", "close", "fsync", "renameat2", "unlinkat", "fchown", "fchmod", "fcntl", "flock", "utimensat"}
			for call, n := range all {
				// What is done only where the machine's other processes ask for it may not come again.
				if happened := fail(call, "error=ENOSPC", "1+"); !happened && slices.Contains(always, call) {
					t.Errorf("%s did not fail", call)
				}
				for _, when := range slices.Compact([]int{1, 2, n/2 + 1, n}) {
					if when <= n {
						fail(call, "error=ENOSPC", fmt.Sprint(when))
					}
				}
			}
			for _, call := range always {
				if all[call] == 0 {
					t.Errorf("a rotation without %s: %v", call, all)
				}
			}
			for _, call := range []string{"fchown", "fchmod", "renameat2", "fsync", "utimensat", "unlinkat", "write", "pwrite64", "fallocate", "ftruncate"} {
				for when := 1; when <= min(3, all[call]); when++ {
					fail(call, "signal=KILL", fmt.Sprint(when))
				}
			}
			t.Logf("%d runs, with failures of %v: 0 lines missing, 0 archives broken", runs, slices.Sorted(maps.Keys(all)))
		})
	}
}

// On a disk with less and less left, a rotation succeeds or changes nothing, and
// never wedges: with space again it goes on.
func TestRotateFullForReal(t *testing.T) {
	privtest.Root(t)
	root := disktest.LogDisk(t, 16<<20)
	dir := filepath.Join(root, "var/log")
	const lines = 20_000
	original := disktest.NumberedLines(lines)
	tried := 0
	for left := int64(0); left <= 512<<10; left += 16 << 10 {
		sub := filepath.Join(dir, fmt.Sprint(left))
		disktest.Must(t, os.Mkdir(sub, 0o755))
		file := filepath.Join(sub, "app.log")
		disktest.Must(t, os.WriteFile(file, original, 0o640))
		filler := filepath.Join(dir, "filler")
		var st unix.Statfs_t
		disktest.Must(t, unix.Statfs(dir, &st))
		f, err := os.Create(filler)
		disktest.Must(t, err)
		// Root may use what is reserved, so that f_bfree counts here.
		if n := int64(st.Bfree)*st.Bsize - left; n > 0 {
			if err := unix.Fallocate(int(f.Fd()), 0, 0, n); err != nil {
				_ = unix.Fallocate(int(f.Fd()), 0, 0, n-64<<10)
			}
		}
		_ = f.Close()
		r := newRotator(t, sub)
		_, _ = r.Rotate(t.Context(), file, Options{}, time.Now())
		_, _ = r.FinishRotation(t.Context(), file, Options{Compress: archive.Gzip}, time.Now())
		if got := disktest.Count(t, sub, "app.log", lines); got.Missing+got.Duplicated+got.Garbled != 0 {
			t.Fatalf("with %d bytes left: %v", left, got)
		}
		disktest.Must(t, os.Remove(filler))
		finish(t, r, file, Options{Compress: archive.Gzip})
		if got := disktest.Count(t, sub, "app.log", lines); got.Missing+got.Duplicated+got.Garbled != 0 {
			t.Fatalf("after %d bytes were left: %v", left, got)
		}
		disktest.Must(t, os.RemoveAll(sub))
		tried++
	}
	t.Logf("%d fill levels", tried)
}
