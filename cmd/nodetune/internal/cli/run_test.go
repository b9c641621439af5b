package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// machine makes a procfs with the keys of the default profile and an empty
// root, and returns both. Regular files stand for the kernel's.
func machine(t *testing.T) (procfs, rootfs string) {
	t.Helper()
	procfs, rootfs = t.TempDir(), t.TempDir()
	for name, content := range map[string]string{
		"meminfo":                           "MemTotal:       16384000 kB\n",
		"sys/kernel/random/boot_id":         "9a1d1c3e-0000-4000-8000-000000000000\n",
		"sys/fs/inotify/max_user_instances": "128\n",
		"sys/fs/inotify/max_user_watches":   "1048576\n",
		"sys/fs/inotify/max_queued_events":  "16384\n",
		"sys/fs/epoll/max_user_watches":     "5491511\n",
		"sys/fs/file-max":                   "9223372036854775807\n",
		"sys/fs/nr_open":                    "1048576\n",
		"sys/user/max_inotify_instances":    "128\n",
		"sys/user/max_inotify_watches":      "1048576\n",
		"sys/fs/inotify/not_a_key_of_ours":  "1\n",
		"sys/net/ipv4/conf/all/forwarding":  "1\n",
		"sys/kernel/osrelease":              "6.18.0\n",
	} {
		put(t, filepath.Join(procfs, name), content)
	}
	return procfs, rootfs
}

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// started is a `nodetune run` in this process.
type started struct {
	t      testing.TB
	url    string
	client *http.Client
	log    *syncBuffer
	hup    func()       // asks for a reload and a pass
	stop   func() error // ends it, once, and returns its error
}

// freeAddress returns one with a port that is free now. Nothing else on this
// machine asks for it by number.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func start(t *testing.T, args ...string) *started {
	t.Helper()
	addr := freeAddress(t)
	s := &started{t: t, url: "http://" + addr, log: &syncBuffer{}}
	// The test binary must survive it before the agent listens and after it ends.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	s.hup = func() { _ = syscall.Kill(os.Getpid(), syscall.SIGHUP) }
	root := newRoot()
	root.SetArgs(append([]string{"run", "--seccomp=false", "--web.listen-address", addr}, args...))
	root.SetOut(io.Discard)
	root.SetErr(s.log)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		_ = s.stop()
		if t.Failed() {
			t.Logf("the log of the agent:\n%s", s.log)
		}
	})
	return s
}

// get returns the answer to path, and 0 where there is none.
func (s *started) get(path string) (int, string) {
	client := s.client
	if client == nil {
		client = &http.Client{Timeout: 10 * time.Second}
	}
	resp, err := client.Get(s.url + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// until polls: what happens takes as long as a loaded machine needs.
func (s *started) until(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited a minute until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// metric reports whether the exposition holds the line.
func (s *started) metric(line string) bool {
	_, body := s.get("/metrics")
	return strings.Contains("\n"+body, "\n"+line+"\n")
}

func holds(name, want string) bool {
	b, err := os.ReadFile(name)
	return err == nil && strings.TrimSpace(string(b)) == want
}

func TestRunHoldsTheFloors(t *testing.T) {
	procfs, rootfs := machine(t)
	instances := filepath.Join(procfs, "sys/fs/inotify/max_user_instances")
	s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs)

	s.until("it is ready", func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })
	if !holds(instances, "8192") {
		t.Error("it says that it is ready, and the floor does not hold")
	}
	if code, body := s.get("/livez"); code != http.StatusOK {
		t.Errorf("/livez: %d %s", code, body)
	}
	if code, body := s.get("/report"); code != http.StatusOK || !strings.Contains(body, `"outcome": "InForce"`) {
		t.Errorf("/report: %d %s", code, body)
	}
	if code, body := s.get("/"); code != http.StatusOK || !strings.Contains(body, `href="metrics"`) || !strings.Contains(body, "fs.inotify.max_user_instances: 128 → 8192") {
		t.Errorf("the page: %d %s", code, body)
	}
	if code, body := s.get("/status.json"); code != http.StatusOK || !strings.Contains(body, `"kind": "NodeStatus"`) || !strings.Contains(body, `"act": "raise"`) {
		t.Errorf("/status.json: %d %s", code, body)
	}
	for _, line := range []string{
		`nodetune_sysctl_value{key="fs.inotify.max_user_instances"} 8192`,
		`nodetune_sysctl_writes_total{key="fs.inotify.max_user_instances",result="success"} 1`,
		`nodetune_config_last_reload_successful 1`,
	} {
		if !s.metric(line) {
			t.Errorf("/metrics lacks %s", line)
		}
	}

	// Another program lowers it, and SIGHUP asks for a pass before the period is over.
	put(t, instances, "128\n")
	s.hup()
	s.until("it is raised again", func() bool { return holds(instances, "8192") })
	s.until("the page has it", func() bool { _, body := s.get("/status.json"); return strings.Contains(body, `"act": "undo_drift"`) })
	s.until("the drift is counted", func() bool {
		return s.metric(`nodetune_sysctl_drift_total{direction="lowered",key="fs.inotify.max_user_instances"} 1`)
	})

	if err := s.stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if !holds(instances, "8192") {
		t.Error("it put something back when it ended")
	}
}

// A configuration broken and mended while running.
func TestRunRefusesABrokenConfiguration(t *testing.T) {
	procfs, rootfs := machine(t)
	cfg := filepath.Join(t.TempDir(), "nodetune.yaml")
	instances := filepath.Join(procfs, "sys/fs/inotify/max_user_instances")
	floor := func(n int) string {
		return fmt.Sprintf("apiVersion: nodetune.io/v1alpha1\nkind: Configuration\nsysctl:\n  rules:\n  - key: fs.inotify.max_user_instances\n    atLeast: %d\n", n)
	}
	put(t, cfg, floor(9000))
	s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs, "--config", cfg)
	s.until("the floor of the file holds", func() bool { return holds(instances, "9000") })

	put(t, cfg, floor(10000)+"    nonsense: 1\n")
	s.hup()
	s.until("it is refused", func() bool { return s.metric("nodetune_config_last_reload_successful 0") })
	s.until("the log says what is wrong", func() bool {
		return strings.Contains(s.log.String(), "configuration rejected") && strings.Contains(s.log.String(), "nonsense")
	})
	put(t, instances, "128\n")
	s.hup()
	s.until("the old floor is held", func() bool { return holds(instances, "9000") })

	put(t, cfg, floor(11000))
	s.hup()
	s.until("the mended one is in force", func() bool { return holds(instances, "11000") })
	s.until("the metric says so", func() bool { return s.metric("nodetune_config_last_reload_successful 1") })
}

func TestRunPaused(t *testing.T) {
	procfs, rootfs := machine(t)
	instances := filepath.Join(procfs, "sys/fs/inotify/max_user_instances")
	pause := filepath.Join(rootfs, "run/nodetune/pause")
	put(t, pause, "")
	s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs)
	s.until("it says that it is paused", func() bool { return s.metric("nodetune_paused 1") })
	if !holds(instances, "128") {
		t.Error("it wrote while it was paused")
	}
	if err := os.Remove(pause); err != nil {
		t.Fatal(err)
	}
	s.hup()
	s.until("it writes", func() bool { return holds(instances, "8192") })
}

func TestRunDryRun(t *testing.T) {
	procfs, rootfs := machine(t)
	instances := filepath.Join(procfs, "sys/fs/inotify/max_user_instances")
	s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs, "--dry-run")
	s.until("the drift is seen", func() bool {
		return s.metric(`nodetune_sysctl_drifted{key="fs.inotify.max_user_instances"} 1`)
	})
	if !holds(instances, "128") {
		t.Error("it wrote")
	}
}

func TestASecondAgentEnds(t *testing.T) {
	procfs, rootfs := machine(t)
	first := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs)
	first.until("the first one is ready", func() bool { code, _ := first.get("/readyz"); return code == http.StatusOK })
	var stderr strings.Builder
	code := run([]string{"run", "--seccomp=false", "--path.procfs", procfs, "--path.rootfs", rootfs, "--web.listen-address", ""}, nil, io.Discard, &stderr)
	if code != exitUnmet || !strings.Contains(stderr.String(), fmt.Sprintf("another nodetune (pid %d)", os.Getpid())) {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}

// An address that another process has keeps the agent from being watched, and
// not from holding the floors.
func TestRunWithoutItsAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	procfs, rootfs := machine(t)
	s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs, "--web.listen-address", l.Addr().String())
	s.until("the floor holds", func() bool {
		return holds(filepath.Join(procfs, "sys/fs/inotify/max_user_instances"), "8192")
	})
	s.until("the log shows why there is no metrics server", func() bool {
		return strings.Contains(s.log.String(), "address already in use")
	})
	if n := strings.Count(s.log.String(), "cannot serve"); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
}

func TestRunFlagsThatAreWrong(t *testing.T) {
	for _, args := range [][]string{
		{"--web.listen-address", "nowhere"},
		{"--web.listen-address", "127.0.0.1:http2"},
		{"--web.config.file", "/does/not/exist"},
		{"--log.level", "loud"},
		{"--log.format", "xml"},
	} {
		var stderr strings.Builder
		if code := run(append([]string{"run"}, args...), nil, io.Discard, &stderr); code != exitUsage || !strings.Contains(stderr.String(), args[0]) {
			t.Errorf("%q: exit code %d: %s", args, code, &stderr)
		}
	}
}
