package cri

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nodetune/nodetune/disk/containerlog"
	"github.com/nodetune/nodetune/disk/logdir"
)

// Logs of containers of a real containerd, rotated again and again while they
// are written: every line is there once and in order.
func TestRotateThroughContainerd(t *testing.T) {
	if helping() {
		help(t)
		return
	}
	n := startNode(t)
	const limit = 256 << 10

	t.Run("full speed", func(t *testing.T) {
		c := n.start(t, "full", endless(20_000, "0"))
		// The logs of a pod that the runtime has are no orphans.
		if uids, err := n.client.Sandboxes(t.Context()); err != nil || !uids[podUID] {
			t.Errorf("the runtime's pods are %v, %v", uids, err)
		}
		acts := n.rotateUntil(t, limit, 0, func(rotations int) bool { return rotations >= 20 })
		c.touch(t, "stop")
		await(t, "the last line", func() bool { return c.has(t, "end") })
		lines, parts := c.complete(t, numbered)
		t.Logf("%d lines, %d rotations, %d archives compressed meanwhile, %d lines in two archives", lines, count(acts, logdir.ActionRotate), count(acts, logdir.ActionCompress), parts)
	})

	t.Run("long lines", func(t *testing.T) {
		c := n.start(t, "long", `x=$(head -c 39991 /dev/zero | tr '\0' x); i=1; until [ -e /tmp/stop ]; do printf '%08d:%s\n' $i $x; i=$((i+1)); done; echo end; exec sleep 1000`)
		n.rotateUntil(t, limit, 0, func(rotations int) bool { return rotations >= 3 })
		c.touch(t, "stop")
		await(t, "the last line", func() bool { return c.has(t, "end") })
		lines, parts := c.complete(t, long)
		t.Logf("%d lines in %d parts", lines, parts)
		if parts < 2*(lines-1) { // containerd cuts lines at 16 KiB
			t.Error("that shows nothing")
		}
	})

	// A collector that is slower than the container writes.
	t.Run("slow reader", func(t *testing.T) {
		c := n.start(t, "slow", "until [ -e /tmp/go ]; do sleep 0.1; done; seq 1 300000; echo end; exec sleep 1000")
		_, out := helper(t, "read", "FILE="+filepath.Join(c.dir, "0.log"))
		if s, err := out.ReadString('\n'); s != "ready\n" {
			t.Fatalf("reader: %q, %v", s, err)
		}
		c.touch(t, "go")
		received := make(chan string, 1)
		go func() {
			s, _ := out.ReadString('\n')
			received <- s
		}()
		// While it is far behind its log is left to it: so that may be rotated
		// before, or when it has read everything.
		var got string
		acts := n.rotateUntil(t, 2<<20, 5*time.Second, func(rotations int) bool {
			select {
			case got = <-received:
			default:
			}
			return got != "" && rotations > 0
		})
		t.Logf("%d rotations, the reader got %s", count(acts, logdir.ActionRotate), got)
		if got != "lines 300000 wrong 0\n" {
			t.Errorf("the reader got %q", got)
		}
		if lines, _ := c.complete(t, numbered); lines != 300_000 {
			t.Errorf("%d lines are there", lines)
		}
	})

	// The log has its new file, and the container does not know.
	t.Run("killed between rename and reopen", func(t *testing.T) {
		c := n.start(t, "once", "seq 1 50000; until [ -e /tmp/stop ]; do sleep 0.1; done; echo end; exec sleep 1000")
		await(t, "the first lines", func() bool { return c.has(t, numbered(50_000)) })
		cmd, _ := helper(t, "reopening", "ROOT="+n.root, "LIMIT=1024")
		_ = cmd.Wait()
		if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); !ws.Signaled() {
			t.Fatalf("the rotating process ended by itself: %v", cmd.ProcessState)
		}
		if st, err := os.Stat(filepath.Join(c.dir, "0.log")); err != nil || st.Size() != 0 {
			t.Fatalf("the log that no process writes yet: %+v, %v", st, err)
		}
		n.repair(t)
		c.touch(t, "stop")
		c.awaitLive(t)
		if lines, _ := c.complete(t, numbered); lines != 50_000 {
			t.Errorf("%d lines are there", lines)
		}
	})

	t.Run("killed anywhere", func(t *testing.T) {
		c := n.start(t, "often", endless(4000, "0.02"))
		rotations := 0
		const kills = 25
		for range kills {
			cmd, out := helper(t, "rotate", "ROOT="+n.root, "LIMIT=65536")
			for range 2 { // ready, and one rotation
				if s, err := out.ReadString('\n'); err != nil {
					t.Fatalf("rotating process: %q, %v", s, err)
				}
			}
			time.Sleep(rand.N(150 * time.Millisecond)) // some moment of those that follow
			_ = cmd.Process.Kill()
			for rotations++; ; rotations++ {
				if _, err := out.ReadString('\n'); err != nil {
					break
				}
			}
			_ = cmd.Wait()
		}
		n.repair(t)
		c.touch(t, "stop")
		c.awaitLive(t)
		lines, parts := c.complete(t, numbered)
		t.Logf("%d kills, %d rotations and those cut short, %d lines, %d of them in two archives", kills, rotations, lines, parts)
	})
}

// endless writes numbered lines, so many at a time and then a pause, until the
// test makes the file stop.
func endless(batch int, pause string) string {
	return fmt.Sprintf("i=0; until [ -e /tmp/stop ]; do seq $((i*%[1]d+1)) $((i*%[1]d+%[1]d)); sleep %[2]s; i=$((i+1)); done; echo end; exec sleep 1000", batch, pause)
}

// awaitLive waits until the container writes what has its log's name.
func (c *container) awaitLive(t *testing.T) {
	t.Helper()
	await(t, "the last line is in the live log", func() bool {
		b, err := os.ReadFile(filepath.Join(c.dir, "0.log"))
		return err == nil && bytes.HasSuffix(b, []byte(" end\n"))
	})
}

func numbered(n int) string { return fmt.Sprint(n) }

var longTail = strings.Repeat("x", 39991)

func long(n int) string { return fmt.Sprintf("%08d:%s", n, longTail) }

// rotateUntil makes pass after pass until done, which gets the number of
// rotations so far, returns true.
func (n *node) rotateUntil(t *testing.T, limit int64, wait time.Duration, done func(rotations int) bool) []logdir.Action {
	t.Helper()
	b, err := n.bursts(limit, wait, n.client.Reopen)
	must(t, err)
	return rotateUntil(t, b, done)
}

func rotateUntil(t *testing.T, b *containerlog.Rotator, done func(rotations int) bool) []logdir.Action {
	t.Helper()
	var mu sync.Mutex
	var acts []logdir.Action
	say := func(all []logdir.Action) {
		mu.Lock()
		defer mu.Unlock()
		for _, a := range all {
			if a.Err != nil && !errors.Is(a.Err, os.ErrNotExist) { // a container that has ended
				t.Errorf("%+v", a)
			}
		}
		acts = append(acts, all...)
	}
	stop := make(chan struct{})
	var settling sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); settling.Wait() })
	defer func() { end(); b.Close() }()
	settling.Go(func() {
		for {
			say(b.FinishRotations(context.Background(), time.Now()))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	await(t, "done", func() bool {
		say(b.Pass(context.Background(), false, time.Now()))
		mu.Lock()
		defer mu.Unlock()
		return done(count(acts, logdir.ActionRotate))
	})
	end()
	say(b.FinishRotations(context.Background(), time.Now()))
	return acts
}

// repair is the beginning of a run that finds what another has left.
func (n *node) repair(t *testing.T) {
	t.Helper()
	b, err := n.bursts(1<<30, 0, n.client.Reopen)
	must(t, err)
	defer b.Close()
	b.Pass(context.Background(), false, time.Now())
	// What is still written ten seconds later is not in the middle of a rotation.
	b.FinishRotations(context.Background(), time.Now())
	for _, a := range b.FinishRotations(context.Background(), time.Now().Add(11*time.Second)) {
		if a.Err != nil {
			t.Errorf("%+v", a)
		}
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after two minutes", what)
		}
	}
}

func count(acts []logdir.Action, verb string) int {
	n := 0
	for _, a := range acts {
		if a.Verb == verb && a.Err == nil {
			n++
		}
	}
	return n
}

// names are those of the archives, the oldest first as the kubelet sorts them,
// and the log's.
func (c *container) names(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(c.dir)
	must(t, err)
	var all []string
	for _, e := range entries {
		if e.Name() != "0.log" && !strings.HasPrefix(e.Name(), ".") {
			all = append(all, e.Name())
		}
	}
	slices.Sort(all)
	return append(all, "0.log")
}

// has reports whether a record of the log or its last archives holds the line.
func (c *container) has(t *testing.T, line string) bool {
	t.Helper()
	names := c.names(t)
	for _, name := range names[max(0, len(names)-3):] {
		if b, err := unpack(filepath.Join(c.dir, name)); err == nil && bytes.Contains(b, []byte(" "+line)) {
			return true
		}
	}
	return false
}

func unpack(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(r)
}

// kubelets is how the kubelet names an archive; ours have microseconds.
var kubelets = regexp.MustCompile(`^0\.log\.\d{8}-\d{6}(\d{6})?(\.gz)?$`)

// complete fails t unless archives and log hold lines from the first on, each
// once and in order, and then "end". It returns how many, and how many records
// end with P: a line goes on in the next.
func (c *container) complete(t *testing.T, line func(int) string) (lines, parts int) {
	t.Helper()
	ended := false
	var text []byte
	all := c.names(t)
	for _, name := range all {
		if name != "0.log" && !kubelets.MatchString(name) {
			t.Errorf("the kubelet would not take %s for an archive", name)
		}
		b, err := unpack(filepath.Join(c.dir, name))
		must(t, err)
		for record := range bytes.Lines(b) {
			f := bytes.SplitN(bytes.TrimSuffix(record, []byte("\n")), []byte(" "), 4)
			if len(f) != 4 || string(f[1]) != "stdout" || record[len(record)-1] != '\n' {
				t.Fatalf("%s: no record: %.100q", name, record)
			}
			text = append(text, f[3]...)
			if string(f[2]) == "P" {
				parts++
				continue
			}
			if string(text) == "end" {
				ended = true
			} else if lines++; string(text) != line(lines) || ended {
				t.Fatalf("%s: line %d is %.100q; files: %q", name, lines, text, all)
			}
			text = text[:0]
		}
	}
	if !ended || len(text) > 0 {
		t.Errorf("it ends after %d lines with %d bytes of one more, in %q", lines, len(text), all)
	}
	return lines, parts
}

// The functions below run in processes of their own: one that is killed, and one
// that reads.

const helperEnv = "NODETUNE_TEST_HELPER"

func helping() bool { return os.Getenv(helperEnv) != "" }

func helper(t *testing.T, do string, env ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.Command(exe, "-test.run=^"+name+"$")
	cmd.Env = append(append(os.Environ(), helperEnv+"="+do), env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewReader(out)
}

func help(t *testing.T) {
	if os.Getenv(helperEnv) == "read" {
		follow(t, os.Getenv("FILE"))
		return
	}
	n := &node{root: os.Getenv("ROOT")}
	var err error
	n.client, err = Dial(context.Background(), n.root, "")
	must(t, err)
	reopen := n.client.Reopen
	if os.Getenv(helperEnv) == "reopening" {
		reopen = func(context.Context, string) error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	}
	var limit int64
	_, err = fmt.Sscan(os.Getenv("LIMIT"), &limit)
	must(t, err)
	b, err := n.bursts(limit, 0, reopen)
	must(t, err)
	fmt.Fprintln(os.Stdout, "ready")
	go func() {
		for {
			b.FinishRotations(context.Background(), time.Now())
		}
	}()
	for {
		for _, a := range b.Pass(context.Background(), false, time.Now()) {
			if a.Err == nil {
				fmt.Fprintln(os.Stdout, a.Archive)
			} else if !errors.Is(a.Err, os.ErrNotExist) {
				fmt.Fprintln(os.Stderr, a.Error)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// follow reads a container's log at 4.3 MB/s. It opens every file that gets the
// log's name, and gives up on one five seconds after it was rotated, as Fluent Bit
// does. It ends with the line "end".
func follow(t *testing.T, file string) {
	type opened struct {
		f       *os.File
		rotated time.Time
	}
	var queue []*opened // the first is read
	look := func() {
		f, err := os.Open(file)
		if err != nil {
			return
		}
		if len(queue) > 0 {
			newest := queue[len(queue)-1]
			a, err := newest.f.Stat()
			must(t, err)
			if b, err := f.Stat(); err != nil || os.SameFile(a, b) {
				f.Close()
				return
			}
			newest.rotated = time.Now()
		}
		queue = append(queue, &opened{f: f})
	}
	look()
	fmt.Fprintln(os.Stdout, "ready")
	const tick = 10 * time.Millisecond
	buf := make([]byte, 43<<20/1000)
	var rest, text []byte
	lines, wrong := 0, 0
	for ; ; time.Sleep(tick) {
		look()
		now := queue[0]
		n, _ := now.f.Read(buf)
		rest = append(rest, buf[:n]...)
		for {
			record, more, ok := bytes.Cut(rest, []byte("\n"))
			if !ok {
				break
			}
			rest = more
			x := bytes.SplitN(record, []byte(" "), 4)
			text = append(text, x[3]...)
			if string(x[2]) == "P" {
				continue
			}
			if string(text) == "end" {
				fmt.Fprintf(os.Stdout, "lines %d wrong %d\n", lines, wrong)
				return
			}
			if lines++; string(text) != numbered(lines) {
				wrong++
			}
			text = text[:0]
		}
		// At its end half a second later, it is not written any more.
		if age := time.Since(now.rotated); !now.rotated.IsZero() && (n == 0 && age > 500*time.Millisecond || age > 5*time.Second) {
			now.f.Close()
			queue = queue[1:]
		}
	}
}
