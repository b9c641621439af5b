package guard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/sysctl"
)

// roleEnv makes the test binary another program, with arguments behind its name.
const roleEnv = "NODETUNE_TEST_GUARD"

func TestMain(m *testing.M) {
	var err error
	switch role, arg, _ := strings.Cut(os.Getenv(roleEnv), " "); role {
	case "":
		os.Exit(m.Run())
	case "writer":
		err = serveWrites(arg)
	case "guard":
		err = guardUntilKilled()
	case "open":
		err = openAndReport(arg)
	case "timed":
		err = timed(arg)
	case "flood":
		err = flood(arg)
	}
	if err != nil {
		fmt.Fprintln(os.Stdout, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// request is one call that a writer makes.
type request struct {
	Path   string
	Offset int64
	Text   string
	Cgroup string // to move to before, its cgroup.procs
}

type answer struct {
	N     int
	Errno int
}

// serveWrites makes the writes that it reads from its standard input, in a thread of a
// process of this name. "process|thread" gives them names of their own.
func serveWrites(name string) error {
	process, thread, ok := strings.Cut(name, "|")
	if !ok {
		thread = process
	}
	if err := os.WriteFile("/proc/self/comm", []byte(process), 0); err != nil {
		return err
	}
	ended := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the first thread, whose name is that of the process
			go func() { ended <- serveIn(thread) }()
			select {}
		}
		ended <- serveIn(thread)
	}()
	return <-ended
}

func serveIn(thread string) error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(bytePtr(thread)), 0, 0, 0); err != nil {
		return err
	}
	lines := json.NewDecoder(os.Stdin)
	for {
		var r request
		if err := lines.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if r.Cgroup != "" {
			if err := os.WriteFile(r.Cgroup, []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
				return err
			}
		}
		var a answer
		fd, err := unix.Open(r.Path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			a.N, err = unix.Pwrite(fd, []byte(r.Text), r.Offset)
			_ = unix.Close(fd)
		}
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			a.Errno = int(errno)
		}
		if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
			return err
		}
	}
}

// writer is another process that writes keys.
type writer struct {
	t      testing.TB
	pid    int
	in     io.Writer
	out    *json.Decoder
	cgroup string
}

func newWriter(t testing.TB, name string, attr *syscall.SysProcAttr) *writer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), executable(t))
	cmd.Dir, cmd.SysProcAttr = "/", attr
	cmd.Env = append(os.Environ(), roleEnv+"=writer "+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return &writer{t: t, pid: cmd.Process.Pid, in: in, out: json.NewDecoder(bufio.NewReader(out))}
}

func (w *writer) write(key sysctl.Key, text string) answer { return w.writeAt(key, text, 0) }

func (w *writer) writeAt(key sysctl.Key, text string, offset int64) answer {
	w.t.Helper()
	r := request{Path: "/proc/sys/" + key.Path(), Offset: offset, Text: text, Cgroup: w.cgroup}
	w.cgroup = ""
	if err := json.NewEncoder(w.in).Encode(r); err != nil {
		w.t.Fatal(err)
	}
	var a answer
	if err := w.out.Decode(&a); err != nil {
		rest, _ := io.ReadAll(w.out.Buffered())
		w.t.Fatalf("write %q to %s: %v: %s", text, key, err, rest)
	}
	return a
}

// executable returns this test's program, where other users may run it.
func executable(t testing.TB) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "guard.test")
	if err := os.WriteFile(bin, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(bin); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

const (
	cgroupfs = "/sys/fs/cgroup"
	key      = sysctl.MaxQueuedEvents
)

func options(mode Mode, floor sysctl.Value) Options {
	return Options{Procfs: "/proc", Cgroupfs: cgroupfs, Mode: mode, Floors: map[sysctl.Key]sysctl.Value{key: floor}}
}

func open(t testing.TB, o Options) *Guard {
	t.Helper()
	g, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

// read returns the next write, which is to be there within seconds.
func read(t testing.TB, g *Guard) Write {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	w, err := g.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// none fails t where there is another write.
func none(t testing.TB, g *Guard) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if w, err := g.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %+v, %v, want no write", w, err)
	}
}

// set writes a key as the process of the guard.
func set(t testing.TB, key sysctl.Key, v sysctl.Value) {
	t.Helper()
	privtest.Set(t, string(key), v.String())
}

func get(t testing.TB, key sysctl.Key) sysctl.Value {
	t.Helper()
	v, err := strconv.ParseInt(privtest.Get(t, string(key)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return sysctl.Value(v)
}
