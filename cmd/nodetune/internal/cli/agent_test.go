package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/internal/privtest"
)

const instancesFile = "/proc/sys/fs/inotify/max_user_instances"

// hupUntil asks for passes until ok.
func (s *started) hupUntil(what string, ok func() bool) {
	s.t.Helper()
	s.until(what, func() bool {
		s.hup()
		time.Sleep(20 * time.Millisecond)
		return ok()
	})
}

func configured(t *testing.T, yaml string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "nodetune.yaml")
	put(t, name, "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\n"+yaml)
	return name
}

// Two writers who do not yield, on the real kernel: the other one writes 128 as
// soon as it sees anything else.
func TestTwoWritersFightOverTheKernel(t *testing.T) {
	untouched(t)
	rootfs := t.TempDir()
	put(t, filepath.Join(rootfs, "etc/sysctl.d/99-collector.conf"), "fs.inotify.max_user_instances = 128\n")
	stop := make(chan struct{})
	var other sync.WaitGroup
	other.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if !holds(instancesFile, "128") {
				_ = os.WriteFile(instancesFile, []byte("128"), 0)
			}
		}
	})
	defer func() { close(stop); other.Wait() }()

	s := start(t, "--path.rootfs", rootfs)
	const key = `key="fs.inotify.max_user_instances"`
	s.hupUntil("the key is contested", func() bool { return s.metric("nodetune_sysctl_contested{" + key + "} 1") })
	for _, want := range []string{"outcome=Contested", "another program set it to 128, 3 times", "/etc/sysctl.d/99-collector.conf:1 sets it to 128"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if s.metric("nodetune_sysctl_drifted{"+key+"} 1") == s.metric("nodetune_sysctl_drifted{"+key+"} 0") {
		t.Error("nodetune_sysctl_drifted says neither yes nor no")
	}
	writes := s.series("nodetune_sysctl_writes_total{" + key + `,result="success"}`)
	passes := s.series(`nodetune_passes_total{result="success",task="sysctl"}`)
	s.hupUntil("it has made twenty more passes", func() bool {
		return s.series(`nodetune_passes_total{result="success",task="sysctl"}`) >= passes+20
	})
	// The first wait is a minute, which twenty passes take only if each takes
	// three seconds.
	if now := s.series("nodetune_sysctl_writes_total{" + key + `,result="success"}`); now > writes+1 {
		t.Errorf("%v writes in twenty passes after it was contested: no back-off", now-writes)
	}
}

// series returns the value of a series, or -1.
func (s *started) series(name string) float64 {
	_, body := s.get("/metrics")
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			if v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64); err == nil {
				return v
			}
		}
	}
	return -1
}

// A program that keeps growing meets no limit, because each is raised before.
func TestRaisedBeforeTheLimit(t *testing.T) {
	untouched(t)
	cfg := configured(t, `
sysctl:
  rules:
  - {key: fs.inotify.max_user_instances, atLeast: 128, ceiling: 600}
`)
	s := start(t, "--path.rootfs", t.TempDir(), "--config", cfg)
	by := growing(t, 70301)
	limit := func() int { n, _ := strconv.Atoi(privtest.Get(t, "fs.inotify.max_user_instances")); return n }
	for step := 90; limit() < 512; {
		was := limit()
		have, errno := by(step)
		if errno != 0 {
			t.Fatalf("errno %d at %d instances: the limit of %d was not raised in time", errno, have, was)
		}
		if have*100 < was*70 {
			step = was*70/100 - have + 1
			continue
		}
		s.hupUntil(fmt.Sprintf("%d of %d in use are reason to raise", have, was), func() bool { return limit() > was })
		step = limit()*70/100 - have + 1
	}
	// The ceiling of the rule holds it there.
	by(limit()*70/100 + 1)
	s.hupUntil("the ceiling is reached", func() bool { return limit() == 600 })
	by(200)
	passes := s.series(`nodetune_passes_total{result="success",task="inotify"}`)
	s.hupUntil("two more passes have ended", func() bool {
		return s.series(`nodetune_passes_total{result="success",task="inotify"}`) >= passes+2
	})
	if limit() != 600 {
		t.Errorf("raised to %d, beyond the ceiling of 600", limit())
	}
	if !strings.Contains(s.log.String(), "uid 70301 uses") {
		t.Error("the log does not say who needs it")
	}
}

// A leak is reported and not fed.
func TestALeakIsNotFed(t *testing.T) {
	untouched(t)
	cfg := configured(t, `
sysctl:
  rules:
  - {key: fs.inotify.max_user_instances, atLeast: 128}
inotify:
  leakInstances: 100
`)
	s := start(t, "--path.rootfs", t.TempDir(), "--config", cfg)
	by := growing(t, 70302)
	by(110)
	s.hupUntil("the leak is reported", func() bool { return strings.Contains(s.log.String(), "which is taken for a leak") })
	if !holds(instancesFile, "128") {
		t.Errorf("raised to %s for a leak", privtest.Get(t, "fs.inotify.max_user_instances"))
	}
}

// agentProcess is a nodetune in a process of its own.
type agentProcess struct {
	started
	cmd *exec.Cmd
}

// startProcess runs argv, which ends in the arguments of nodetune, and stops it
// with the test.
func startProcess(t testing.TB, addr string, argv ...string) *agentProcess {
	t.Helper()
	p := &agentProcess{started: started{t: t, url: "http://" + addr, log: &syncBuffer{}}}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Stderr = p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stop = sync.OnceValue(func() error {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		return p.cmd.Wait()
	})
	t.Cleanup(func() {
		_ = p.stop()
		if t.Failed() {
			t.Logf("the log of the agent:\n%s", p.log)
		}
	})
	p.hup = func() { _ = p.cmd.Process.Signal(syscall.SIGHUP) }
	return p
}

// fs.file-max is used up: a process without CAP_SYS_ADMIN cannot open any more
// files (fs/file_table.c). The agent lacks it, has the files it needs open, and
// raises the very key that is used up.
func TestFileMaxExhausted(t *testing.T) {
	untouched(t)
	bin := build(t)
	unprivileged := []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all"}
	cfg := filepath.Join(t.TempDir(), "nodetune.yaml")
	rule := "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\nsysctl:\n  rules:\n  - key: fs.file-max\n    %s\n"
	put(t, cfg, fmt.Sprintf(rule, "reportOnly: true"))

	addr := freeAddress(t)
	s := startProcess(t, addr, append(unprivileged, bin, "run", "--config", cfg, "--path.rootfs", t.TempDir(), "--web.listen-address", addr)...)
	s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })
	// A connection from before: accept(2) needs a new file.
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}
	s.client = client
	s.until("it is ready", func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })

	privtest.Set(t, "fs.file-max", "64") // far below what is open
	probe := func() error {
		return exec.Command("setpriv", append(unprivileged[1:], "cat", "/proc/self/limits")...).Run()
	}
	if probe() == nil {
		t.Fatal("a program without capabilities still opens files: nothing is proven")
	}
	privtest.Set(t, "fs.inotify.max_user_instances", "128")
	s.hupUntil("the floor holds with no file left to open", func() bool { return holds(instancesFile, "8192") })
	if got := privtest.Get(t, "fs.file-max"); got != "64" {
		t.Fatalf("fs.file-max is %s: it was not exhausted all the time", got)
	}
	if code, _ := s.get("/livez"); code != http.StatusOK {
		t.Errorf("/livez over the connection from before: %d", code)
	}
	if err := s.stop(); err != nil {
		t.Errorf("it ended with %v", err)
	}

	// With the default rule it is the agent that ends the shortage.
	privtest.Set(t, "fs.file-max", "2466170")
	addr = freeAddress(t)
	s = startProcess(t, addr, append(unprivileged, bin, "run", "--path.rootfs", t.TempDir(), "--web.listen-address", addr)...)
	s.until("it runs", func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })
	privtest.Set(t, "fs.file-max", "64")
	s.hupUntil("fs.file-max is raised", func() bool { return holds("/proc/sys/fs/file-max", "1048576") })
	if err := probe(); err != nil {
		t.Errorf("a program without capabilities still cannot open files: %v", err)
	}
}

// A full /run keeps the record and the lock from being written, and nothing
// else from being done.
func TestDiskFull(t *testing.T) {
	untouched(t)
	rootfs := t.TempDir()
	run := filepath.Join(rootfs, "run")
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", run, "tmpfs", 0, "size=64k,nr_inodes=2"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(run, unix.MNT_DETACH) })
	fill, err := os.Create(filepath.Join(run, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.CopyN(fill, zeros{}, 1<<20)
	_ = fill.Close()
	s := start(t, "--path.rootfs", rootfs)
	s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })
	for _, want := range []string{"cannot take the agent lock", "no space left on device"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if err := os.WriteFile(instancesFile, []byte("128"), 0); err != nil {
		t.Fatal(err)
	}
	s.hupUntil("the floor holds again", func() bool { return holds(instancesFile, "8192") })
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// kill -9 at every system call of a pass that changes a file: what is left is
// valid, and the next agent starts, holds the floor and can be restored from.
func TestAgentKilled(t *testing.T) {
	privtest.Root(t)
	bin := build(t)
	killed := 0
	for _, call := range []string{"write", "pwrite64", "fsync", "renameat", "ftruncate", "flock"} {
		for n := 1; ; n++ {
			procfs, rootfs := machine(t)
			file := filepath.Join(procfs, "sys/fs/inotify/max_user_instances")
			put(t, filepath.Join(procfs, "sys/fs/inotify/max_user_watches"), "8192\n")
			flags := []string{"--path.procfs", procfs, "--path.rootfs", rootfs, "--web.listen-address="}
			cmd := exec.Command("strace", append([]string{
				// -D: the agent and not strace is our child, so that we can stop it.
				"-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call,
				"-e", "inject=" + call + ":signal=SIGKILL:when=" + strconv.Itoa(n), bin, "run",
			}, flags...)...)
			log := &syncBuffer{}
			cmd.Stderr = log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			survived := false
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
				select {
				case <-ended:
				default:
					// The pass is over when its last write is logged.
					if survived = strings.Contains(log.String(), "key=fs.inotify.max_user_watches"); !survived && time.Now().Before(deadline) {
						continue
					}
					_ = cmd.Process.Signal(syscall.SIGTERM)
					<-ended
				}
				break
			}
			if got := strings.TrimSpace(read(t, file)); got != "128" && got != "8192" {
				t.Errorf("killed at %s %d the key holds %q", call, n, got)
			}
			if survived {
				break
			}
			killed++
			if n > 100 {
				t.Fatalf("%s is called for ever", call)
			}
			s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs)
			s.until("the next agent holds the floor", func() bool { return holds(file, "8192") })
			if err := s.stop(); err != nil {
				t.Errorf("after a kill at %s %d the next agent: %v", call, n, err)
			}
			var out strings.Builder
			if code := run([]string{"restore", "--path.procfs", procfs, "--path.rootfs", rootfs}, nil, &out, &out); code != exitOK || !holds(file, "128") {
				t.Errorf("after a kill at %s %d, restore: code %d\n%s", call, n, code, &out)
			}
		}
	}
	if killed < 8 {
		t.Errorf("killed %d times: want at every write, fsync and rename", killed)
	}
	t.Logf("killed %d times", killed)
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A /proc entry whose open never returns, as a FUSE mount behind a path can do:
// the task that meets it is stuck, and no other task is.
func TestFrozenProcEntry(t *testing.T) {
	procfs, rootfs := machine(t)
	if err := os.MkdirAll(filepath.Join(procfs, "self/ns"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(procfs, "self/ns/user"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1/fd", "1/task/1/fd"} {
		if err := os.MkdirAll(filepath.Join(procfs, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("anon_inode:inotify", filepath.Join(procfs, "1/fd/3")); err != nil {
		t.Fatal(err)
	}
	// open(2) of a FIFO waits for its other end.
	for _, name := range []string{"1/stat", "1/status", "1/cgroup", "1/limits"} {
		if err := unix.Mkfifo(filepath.Join(procfs, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(procfs, "sys/fs/inotify/max_user_instances")
	s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs)
	t.Cleanup(func() { // let the pass end with the test
		for _, name := range []string{"1/stat", "1/status", "1/cgroup", "1/limits"} {
			if f, err := os.OpenFile(filepath.Join(procfs, name), os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
				_ = f.Close()
			}
		}
	})
	s.until("the floor holds", func() bool { return holds(file, "8192") })
	s.until("the other task is in a pass", func() bool { return s.series(`nodetune_pass_running_seconds{task="inotify"}`) > 0.5 })
	put(t, file, "128\n")
	s.hupUntil("the floor is held beside the stuck task", func() bool { return holds(file, "8192") })
	if code, body := s.get("/livez"); code != http.StatusOK {
		t.Errorf("/livez: %d %s", code, body)
	}
	if code, body := s.get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "inotify: in its first pass") {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if s.metric(`nodetune_passes_total{result="success",task="inotify"} 1`) {
		t.Fatal("the pass was not stuck: nothing is proven")
	}
	began := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second+time.Minute {
		t.Errorf("the shutdown took %v", took)
	}
}

// A real Prometheus scrapes a real agent.
func TestPrometheusScrapes(t *testing.T) {
	privtest.Root(t)
	procfs, rootfs := machine(t)
	s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs)
	dir, addr := t.TempDir(), freeAddress(t)
	put(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: nodetune
  static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(s.url, "http://")))
	prometheus := startProcess(t, addr, "prometheus", "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data",
		"--web.listen-address="+addr, "--log.level=warn")
	answer := func(query string) string {
		_, body := prometheus.get("/api/v1/query?query=" + query)
		if m := regexp.MustCompile(`"value":\[[0-9.]+,"([^"]*)"\]`).FindStringSubmatch(body); m != nil {
			return m[1]
		}
		return body
	}
	s.until("Prometheus has scraped it", func() bool { return answer("up") == "1" })
	s.until("the floor is in its database", func() bool {
		return answer(`nodetune_sysctl_value%7Bkey%3D%22fs.inotify.max_user_instances%22%7D`) == "8192"
	})
	for query, want := range map[string]string{
		"nodetune_config_last_reload_successful": "1",
		"count(nodetune_build_info)":             "1",
		"sum(nodetune_sysctl_drifted)":           "0",
	} {
		if got := answer(query); got != want {
			t.Errorf("%s is %s, want %s", query, got, want)
		}
	}
}

// TLS and basic auth are the exporter-toolkit's; that the flag reaches it is
// ours.
func TestBasicAuth(t *testing.T) {
	procfs, rootfs := machine(t)
	cfg := filepath.Join(t.TempDir(), "web.yaml")
	// bcrypt of "secret", cost 4.
	put(t, cfg, "basic_auth_users:\n  scraper: "+`"$2a$04$8OcVHD0vvK8B6IpkwiTfauFJXM4l3De6g1Vsxmk5218ZRK/8D7vbm"`+"\n")
	s := start(t, "--path.procfs", procfs, "--path.rootfs", rootfs, "--web.config.file", cfg)
	s.until("it asks for a password", func() bool { code, _ := s.get("/metrics"); return code == http.StatusUnauthorized })
	s.url = strings.Replace(s.url, "http://", "http://scraper:secret@", 1)
	if code, body := s.get("/metrics"); code != http.StatusOK {
		t.Errorf("with the password: %d %s", code, body)
	}
}

// Limits are raised three times before the second pass would be due.
func TestRaisedBetweenPasses(t *testing.T) {
	untouched(t)
	cfg := configured(t, `
sysctl:
  rules:
  - {key: fs.inotify.max_user_instances, atLeast: 128}
`)
	s := start(t, "--path.rootfs", t.TempDir(), "--config", cfg)
	s.until("the first pass has ended", func() bool {
		return s.series(`nodetune_inotify_kernel_counters`) == 1
	})
	began := time.Now()
	by := growing(t, 70303)
	limit := func() int { n, _ := strconv.Atoi(privtest.Get(t, "fs.inotify.max_user_instances")); return n }
	have := 0
	for limit() < 1024 {
		was := limit()
		var errno int
		if have, errno = by(was*71/100 - have); errno != 0 {
			t.Fatalf("errno %d at %d instances of %d", errno, have, was)
		}
		grown := time.Now()
		s.until(fmt.Sprintf("%d is raised", was), func() bool { return limit() > was })
		t.Logf("from %d to %d after %s", was, limit(), time.Since(grown))
	}
	const pass = 30 * time.Second // near a limit
	if took := time.Since(began); took > pass*8/10 {
		t.Errorf("three raises took %s: no sooner than by the passes every %s", took, pass)
	}
}
