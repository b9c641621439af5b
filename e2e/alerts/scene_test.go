package alerts_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/internal/privtest"
)

const (
	envCollector = "NODETUNE_TEST_COLLECTOR"
	collectorUID = 70420
	podUID       = "0a1b2c3d-1111-2222-3333-444455556666"
	containerID  = "5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d5e0d"
)

func TestMain(m *testing.M) {
	if os.Getenv(envCollector) != "" {
		os.Exit(collect())
	}
	os.Exit(m.Run())
}

// collect is a log collector that takes every inotify instance of its user, opens the
// log that it inherits, reads some of it, and stops.
func collect() int {
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n') // it is in its cgroup
	if err := syscall.Setuid(collectorUID); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	n := 0
	for {
		if _, err := syscall.InotifyInit1(syscall.IN_CLOEXEC); err != nil {
			fmt.Fprintf(os.Stdout, "%d instances, errno %d\n", n, err)
			break
		}
		n++
	}
	_, _ = in.ReadString('\n') // until the test ends
	return 0
}

// scene is a node in trouble: a collector in a pod has used up its inotify instances,
// whose limit is at its ceiling, and reads its log no more, and a container writes a
// storm into that log. A real agent observes it.
type scene struct {
	agent string // its address
	dir   string // of its binary, nodetune.yaml, and root
}

func newScene(t *testing.T) scene {
	t.Helper()
	t.Setenv(privtest.Env, "1") // e2e is asked for by name, and runs as root
	privtest.Host(t)
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	dir := t.TempDir()
	logs := filepath.Join(dir, "root/var/log/pods/shop_cart-1_"+podUID+"/app")
	for _, d := range []string{logs, filepath.Join(dir, "root/var/log/containers"), filepath.Join(dir, "root/run")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join("../pods/shop_cart-1_"+podUID, "app/0.log"), filepath.Join(dir, "root/var/log/containers/cart-1_shop_app-"+containerID+".log")); err != nil {
		t.Fatal(err)
	}
	storm(t, filepath.Join(logs, "0.log"))
	startCollector(t, dir, filepath.Join(logs, "0.log"))
	return scene{startAgent(t, dir), dir}
}

// storm writes 2.5 MiB of lines a second, up to 256 MiB, until t ends.
func storm(t *testing.T, name string) {
	t.Helper()
	log, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Repeat("2026-11-20T16:18:59.000000000Z stdout F cart is full\n", 5000)
	write := func() {
		if _, err := io.WriteString(log, lines); err != nil {
			t.Error(err)
		}
	}
	write()
	ctx, cancel := context.WithCancel(context.Background())
	var writer sync.WaitGroup
	writer.Go(func() {
		defer func() { _ = log.Close() }()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range 1000 {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				write()
			}
		}
	})
	t.Cleanup(func() { cancel(); writer.Wait() })
}

// startCollector starts [collect] as fluent-bit in the cgroup of the pod.
func startCollector(t *testing.T, dir, log string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "fluent-bit") // its comm
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if _, err := io.CopyN(io.Discard, file, 1000); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name)
	cmd.Env = append(os.Environ(), envCollector+"=1")
	cmd.ExtraFiles = []*os.File{file}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cgroups := podCgroups(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for _, dir := range cgroups {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, cmd.Process.Pid), 0); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = io.WriteString(in, "\n")
	answer, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || answer != "128 instances, errno 24\n" {
		t.Fatalf("the collector says %q (%v), want 128 instances and EMFILE", answer, err)
	}
}

// podCgroups makes the cgroup of the pod's container in the hierarchy of v2, or in those of
// a host with v1 that matter, as the kubelet does. They are removed when t ends, after the
// process in them.
func podCgroups(t *testing.T) (dirs []string) {
	t.Helper()
	const root = "/sys/fs/cgroup"
	hierarchies := []string{root}
	if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
		hierarchies = []string{filepath.Join(root, "unified"), filepath.Join(root, "memory")}
	}
	for _, dir := range hierarchies {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		for _, part := range []string{"kubepods", "pod" + podUID, containerID} {
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); os.IsExist(err) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			made := dir
			t.Cleanup(func() { // the innermost first
				if err := os.Remove(made); err != nil {
					t.Error(err)
				}
			})
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// startAgent starts a real agent, and returns its address.
func startAgent(t *testing.T, dir string) string {
	t.Helper()
	bin := filepath.Join(dir, "nodetune")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/nodetune")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config := filepath.Join(dir, "nodetune.yaml")
	if err := os.WriteFile(config, []byte(`apiVersion: nodetune.io/v1alpha1
kind: Configuration
sysctl:
  rules:
    - {key: fs.inotify.max_user_instances, atLeast: 128, ceiling: 128}
disk:
  readers: {stalledAfter: 1s}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	start(t, bin, "run", "--config", config, "--path.rootfs", filepath.Join(dir, "root"), "--web.listen-address", address)
	return address
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// start starts a daemon that ends with t.
func start(t *testing.T, name string, args ...string) {
	t.Helper()
	var log strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(name), log.String())
		}
	})
}

// prometheus starts one that scrapes the targets, by node, and evaluates the rules of
// the chart each second. It returns its address.
func prometheus(t *testing.T, targets map[string]string, rules, alertmanager string) string {
	t.Helper()
	dir := t.TempDir()
	config := "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
	if rules != "" {
		config += fmt.Sprintf("rule_files: [%q]\n", rules)
	}
	if alertmanager != "" {
		config += fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}\n", alertmanager)
	}
	config += "scrape_configs:\n- job_name: nodetune\n  honor_labels: true\n  static_configs:\n"
	for node, address := range targets {
		config += fmt.Sprintf("  - {targets: [%q], labels: {namespace: nodetune, pod: nodetune-%s, container: nodetune, node: %q}}\n", address, node, node)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	start(t, "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	return address
}

// row is one series of an answer.
type row struct {
	Metric map[string]string
	Value  []any
}

// query returns what Prometheus answers now.
func query(ctx context.Context, address, expr string) ([]row, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Error string
		Data  struct{ Result []row }
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", expr, answer.Error)
	}
	return answer.Data.Result, nil
}

// rulesWithoutFor are the rules of the chart, whose alerts fire at once, and on a storm
// that is seconds old: its rate is over ten minutes.
func rulesWithoutFor(t *testing.T) string {
	t.Helper()
	text := forLine.ReplaceAllString(read(t, rulesFile), "")
	text = strings.ReplaceAll(text, "> 1048576 # stormBytesPerSecond", "> 10000 # stormBytesPerSecond")
	name := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// patience is how long something may take that takes seconds on an idle machine.
const patience = cluster.Patience
