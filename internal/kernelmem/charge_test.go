package kernelmem_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/kernelmem"
	"github.com/nodetune/nodetune/internal/privtest"
)

const (
	readerEnv       = "NODETUNE_TEST_WATCHED_DIR"
	readerUID       = 65534
	readerInstances = 64
	groupBytes      = 8 << 20
	files           = 272
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(readerEnv); dir != "" {
		hold(dir)
		return
	}
	os.Exit(m.Run())
}

// hold waits for a line, watches dir with every instance, says so, and waits for
// the end of its input.
func hold(dir string) {
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n')
	for range readerInstances {
		fd, err := unix.InotifyInit1(unix.IN_NONBLOCK)
		if err == nil {
			_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE)
		}
		if err != nil {
			fmt.Fprintln(os.Stdout, err)
			return
		}
	}
	fmt.Fprintln(os.Stdout, "holds")
	_, _ = in.ReadString('\n')
}

// The kernel charges a queued event to the memory cgroup of the process that made
// the instance. Where that cgroup is full, the kernel drops the event and ends no
// process: a pod with a memory limit pins no more than that, however high the floors.
func TestQueuedEventsAreCharged(t *testing.T) {
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_queued_events", "16384")
	group := privtest.MemoryGroup(t, groupBytes)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // for the other uid
		t.Fatal(err)
	}
	if want := readerInstances * files * kernelmem.QueuedEventBytes; want <= groupBytes {
		t.Fatalf("%d bytes of events would fit into the cgroup", want)
	}
	reader := exec.Command("/proc/self/exe")
	reader.Env = append(os.Environ(), readerEnv+"="+dir)
	reader.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: readerUID, Gid: readerUID}}
	in, err := reader.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := reader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = reader.Process.Kill()
		_ = reader.Wait()
	})
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(reader.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "holds\n" {
		t.Fatalf("%q, %v", line, err)
	}
	for i := range files {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%0255d", i)))
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	if used := memoryUsed(t, group); used > groupBytes || used < groupBytes*9/10 {
		t.Errorf("the cgroup uses %d of its %d bytes", used, groupBytes)
	}
	if n := privtest.OOMKills(group); n != "0" {
		t.Errorf("%s processes were killed", n)
	}
	if err := reader.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the reader: %v", err)
	}
}

// memoryUsed reads memory.current, or the file of cgroup v1.
func memoryUsed(t *testing.T, group string) int {
	t.Helper()
	for _, name := range []string{"memory.current", "memory.usage_in_bytes"} {
		if b, err := os.ReadFile(filepath.Join(group, name)); err == nil {
			n, err := strconv.Atoi(strings.TrimSpace(string(b)))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s does not say what it uses", group)
	return 0
}
