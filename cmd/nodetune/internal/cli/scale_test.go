package cli

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/inotifytest"
	"github.com/nodetune/nodetune/internal/privtest"
)

// load is what tenants of a node hold and make.
type load struct {
	processes, descriptors int // and descriptors of each
	dups                   int // more descriptors of one instance, of each of ten processes
	names                  int // files of one directory
	deep                   int // directories, 3 kB deep
	connections            int // to the agent, idle
	watched                time.Duration
}

// loads are the form that CI runs, and that of `make scale`: a million
// descriptors, 200,000 of them of one instance, a million names, 200,000 deep
// directories and 10,000 connections.
var loads = map[string]load{
	"":     {10, 5_000, 2_000, 20_000, 5_000, 500, 25 * time.Second},
	"full": {50, 16_000, 19_900, 1_000_000, 200_000, 10_000, 10 * time.Minute},
}

// TestScale: whatever tenants hold and make, the agent with the memory and the
// processor that the manifests give it is not killed, reports what it left out,
// and raises a lowered floor within the 30 seconds of its interval.
func TestScale(t *testing.T) {
	untouched(t)
	l, ok := loads[os.Getenv("NODETUNE_TEST_SCALE")]
	if !ok {
		t.Fatalf("NODETUNE_TEST_SCALE=%s: want full or nothing", os.Getenv("NODETUNE_TEST_SCALE"))
	}
	root := t.TempDir()
	app := filepath.Join(root, "var/log/app")
	names(t, app, l.names)
	deep(t, filepath.Join(app, "deep"), l.deep)
	inotifytest.New(t, 1).Start(
		inotifytest.Spec{Kind: inotifytest.FDs, Processes: l.processes, UID: 70501, Instances: l.descriptors},
		inotifytest.Spec{Kind: inotifytest.Dup, Processes: 10, UID: 70502, Instances: 1, Watches: 1, Copies: l.dups},
	)

	group := privtest.MemoryGroup(t, 64<<20)
	cpu := cpuGroup(t, 10)
	addr := freeAddress(t)
	s := startProcess(t, addr, "env", "GOMEMLIMIT=51MiB", "sh", "-c", `for g in "$0" "$1"; do echo $$ >"$g"; done; shift; exec "$@"`,
		filepath.Join(group, "cgroup.procs"), filepath.Join(cpu, "cgroup.procs"), build(t), "run", "--path.rootfs", root, "--web.listen-address", addr)
	s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })
	connect(t, addr, l.connections)

	pid := s.cmd.Process.Pid
	var most float64
	var took time.Duration
	// One time: a key that is lowered again and again becomes contested.
	lowered := time.Time{}
	for began := time.Now(); time.Since(began) < l.watched || took == 0; time.Sleep(100 * time.Millisecond) {
		switch {
		case lowered.IsZero() && time.Since(began) > l.watched/2:
			privtest.Set(t, "fs.inotify.max_user_instances", "128")
			lowered = time.Now()
		case !lowered.IsZero() && took == 0 && holds(instancesFile, "8192"):
			took = time.Since(lowered)
		case !lowered.IsZero() && took == 0 && time.Since(lowered) > 2*time.Minute:
			t.Fatal("a lowered floor is not raised again")
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatalf("the agent has ended: %v", err)
		}
		most = max(most, statusKiB(t, string(status), "VmRSS:")/1024)
	}
	for _, task := range []string{"sysctl", "inotify", "disk"} {
		passes := `nodetune_passes_total{result="success",task="` + task + `"}`
		s.until("a pass of "+task+" has ended", func() bool { return s.series(passes) > 0 })
		t.Logf("%s: %v passes, the last took %v s", task, s.series(passes), s.series(`nodetune_pass_duration_seconds{task="`+task+`"}`))
	}
	_, page := s.get("/metrics")
	var omitted []string
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "nodetune_scan_omitted{") {
			omitted = append(omitted, strings.TrimSpace(line))
		}
	}
	t.Logf("RSS at most %.1f MiB, a lowered floor is back after %v, left out: %q", most, took.Round(time.Millisecond), omitted)
	if kills := privtest.OOMKills(group); kills != "0" {
		t.Errorf("%s OOM kills", kills)
	}
	if most > 58 {
		t.Errorf("RSS was %.1f MiB, want at most 58", most)
	}
	// The interval of the floors, and what a pass takes with a tenth of a processor.
	if took > 45*time.Second {
		t.Errorf("a floor was raised again after %v", took)
	}
	if len(omitted) == 0 {
		t.Error("the agent does not report what it left out")
	}
}

// names makes n empty files with long names.
func names(t *testing.T, dir string, n int) {
	t.Helper()
	fd := makeDir(t, dir)
	long := strings.Repeat("x", 200)
	for i := range n {
		f, err := unix.Openat(fd, fmt.Sprintf("%08d%s.log", i, long), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(f)
	}
}

// deep makes n directories below twelve others, each with a name of 250 bytes.
func deep(t *testing.T, dir string, n int) {
	t.Helper()
	fd := makeDir(t, dir)
	part := strings.Repeat("d", 250)
	for range 12 {
		if err := unix.Mkdirat(fd, part, 0o755); err != nil {
			t.Fatal(err)
		}
		below, err := unix.Openat(fd, part, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(below) })
		fd = below
	}
	for i := range n {
		if err := unix.Mkdirat(fd, strconv.Itoa(i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func makeDir(t *testing.T, dir string) int {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// connect opens n connections and sends nothing. Those that the agent does not
// take stay in the kernel's queue, or are refused.
func connect(t *testing.T, addr string, n int) {
	t.Helper()
	for range n {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}

// cpuGroup makes a cgroup that may use percent of one processor, v1 or v2.
func cpuGroup(t *testing.T, percent int) string {
	t.Helper()
	dir, file, quota := "/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", strconv.Itoa(percent*1000)
	if _, err := os.Stat(dir); err != nil {
		dir, file, quota = "/sys/fs/cgroup", "cpu.max", quota+" 100000"
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+cpu"), 0)
	}
	dir = filepath.Join(dir, fmt.Sprintf("nodetune-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.Command("rmdir", dir).Run() })
	if err := os.WriteFile(filepath.Join(dir, file), []byte(quota), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}
