// Package systemd runs the units of deploy/systemd under a real systemd, in
// namespaces with a root of its own.
package systemd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/e2e/cluster"
	"github.com/nodetune/nodetune/e2e/sandbox"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(envBoot); root != "" {
		fmt.Fprintln(os.Stderr, becomeSystemd(root))
		os.Exit(1)
	}
	os.Exit(sandbox.Main(sandbox.Options{}, func() int { return run(m) }))
}

// run has the machine's settings for itself: systemd's start raises
// fs.file-max, too.
func run(m *testing.M) int {
	release, err := sandbox.HoldKernel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := release(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

const (
	deploy = "../../deploy"
	key    = "/proc/sys/fs/inotify/max_user_instances"
)

// lower sets the limit as a kernel does.
func lower(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(key, []byte("128"), 0); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, value string) {
	t.Helper()
	if b, err := os.ReadFile(key); err != nil || strings.TrimSpace(string(b)) != value {
		t.Errorf("%s is %s (%v), want %s", key, b, err, value)
	}
}

// install runs the commands of deploy/README.md on h, except for the build.
func (h *host) install(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deploy, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## A host without Kubernetes\n")
	_, block, ok := strings.Cut(section, "```sh\nmake build\n")
	block, _, end := strings.Cut(block, "```")
	if !ok || !end {
		t.Fatal("deploy/README.md has no commands that install nodetune on a host")
	}
	clone := filepath.Join(h.root, "root/nodetune")
	if err := errors.Join(
		os.CopyFS(filepath.Join(clone, "deploy/systemd"), os.DirFS(filepath.Join(deploy, "systemd"))),
		os.MkdirAll(filepath.Join(clone, "bin"), 0o755),
	); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "../bin/nodetune", filepath.Join(clone, "bin/nodetune")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s (make e2e-image)", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			out, err := h.command("journalctl", "-b", "-n", "60").CombinedOutput()
			t.Logf("the journal (%v):\n%s", err, out)
		}
	})
	h.run(t, "cd /root/nodetune; "+strings.ReplaceAll(block, "sudo ", ""))
}

// From the README to an agent that systemd knows to be at work; and its end.
func TestInstall(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.boot(t)
	want(t, "128")
	h.install(t)
	want(t, "8192")
	for unit, state := range map[string]string{"nodetune-apply": "exited", "nodetune": "running"} {
		if got := h.show(t, unit, "SubState"); got != state {
			t.Errorf("%s is %s, want %s", unit, got, state)
		}
	}
	// Type=notify: enable --now returned after READY, which came with a status.
	if got := h.show(t, "nodetune", "StatusText"); !strings.Contains(got, "in force") {
		t.Errorf("systemd shows the status %q", got)
	}
	if got := h.run(t, "journalctl -b -u nodetune -p warning -o cat -q"); got != "" {
		t.Errorf("a healthy agent warns:\n%s", got)
	}
	pid := h.show(t, "nodetune", "MainPID")
	h.run(t, "systemctl reload nodetune")
	h.until(t, "nodetune", "ActiveState", "active")
	if got := h.show(t, "nodetune", "MainPID"); got != pid {
		t.Errorf("a reload made pid %s out of %s", got, pid)
	}
	if out := h.run(t, "nodetune restore 2>&1 || true"); !strings.Contains(out, "(pid "+pid+")") {
		t.Errorf("restore beside an agent says %q, want its pid %s", out, pid)
	}

	h.run(t, "systemctl stop nodetune nodetune-apply")
	want(t, "8192")
	if got := h.show(t, "nodetune", "Result"); got != "success" {
		t.Errorf("a stop is %q for systemd", got)
	}
	h.run(t, "test -s /run/nodetune/originals.json")
	h.run(t, "systemctl disable nodetune nodetune-apply")
	h.run(t, "nodetune restore")
	want(t, "128")
}

// A kubelet that is started at boot never sees the kernel's own limit.
func TestBeforeKubelet(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.write(t, "etc/systemd/system/kubelet.service", `[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/cp /proc/sys/fs/inotify/max_user_instances /run/kubelet-saw
[Install]
WantedBy=multi-user.target
`)
	h.boot(t)
	h.run(t, "systemctl enable --now kubelet")
	if got := h.run(t, "cat /run/kubelet-saw"); got != "128" {
		t.Fatalf("without nodetune the kubelet saw %s, want 128", got)
	}
	h.install(t)
	// A service that does not wait for it is first now.
	h.write(t, "etc/systemd/system/nodetune-apply.service.d/slow.conf", "[Service]\nExecStartPre=/bin/sleep 1\n")
	h.off()
	lower(t)
	h.boot(t)
	if got := h.run(t, "cat /run/kubelet-saw"); got != "8192" {
		t.Errorf("after a boot the kubelet saw %s, want 8192", got)
	}
	applied, started := h.number(t, "nodetune-apply", "ExecMainExitTimestampMonotonic"), h.number(t, "kubelet", "ExecMainStartTimestampMonotonic")
	if applied == 0 || started < applied {
		t.Errorf("the kubelet started at %d, nodetune-apply was done at %d", started, applied)
	}
	if got := h.run(t, "systemctl list-units --failed --plain --no-legend nodetune*.service kubelet.service"); got != "" {
		t.Errorf("after a boot these have failed: %s", got)
	}
}

// systemd sees the watchdog served, kills an agent that hangs, and starts one
// that died.
func TestWatchdog(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.write(t, "etc/systemd/system/nodetune.service.d/quick.conf", "[Service]\nWatchdogSec=20s\nRestartSec=100ms\n")
	h.boot(t)
	h.install(t)
	first := h.number(t, "nodetune", "WatchdogTimestampMonotonic")
	cluster.Eventually(t, "WATCHDOG=1 arrives", func(context.Context) error {
		if now := h.number(t, "nodetune", "WatchdogTimestampMonotonic"); now <= first {
			return fmt.Errorf("the last came at %d", now)
		}
		return nil
	})
	if n := h.number(t, "nodetune", "NRestarts"); n != 0 {
		t.Errorf("a healthy agent was restarted %d times", n)
	}
	for i, how := range []string{"STOP", "KILL"} {
		pid := h.show(t, "nodetune", "MainPID")
		lower(t)
		h.run(t, "kill -"+how+" "+pid)
		cluster.Eventually(t, "a new agent after SIG"+how, func(context.Context) error {
			if now, state := h.show(t, "nodetune", "MainPID"), h.show(t, "nodetune", "ActiveState"); now == pid || now == "0" || state != "active" {
				return fmt.Errorf("pid %s is %s", now, state)
			}
			return nil
		})
		if n := h.number(t, "nodetune", "NRestarts"); n != i+1 {
			t.Errorf("%d restarts after SIG%s, want %d", n, how, i+1)
		}
		want(t, "8192")
	}
	if log := h.run(t, "journalctl -b -u nodetune"); !strings.Contains(log, "Watchdog timeout") {
		t.Errorf("the journal does not tell of a watchdog:\n%s", log)
	}
}

// The journal knows which lines are warnings.
func TestJournal(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.boot(t)
	h.install(t)
	h.run(t, "touch /run/nodetune/pause; systemctl reload nodetune")
	cluster.Eventually(t, "a warning is in the journal", func(context.Context) error {
		var priorities []string
		for _, line := range strings.Split(h.run(t, "journalctl -b -u nodetune -o json"), "\n") {
			var entry struct{ MESSAGE, PRIORITY, SYSLOG_IDENTIFIER string }
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				return err
			}
			if entry.SYSLOG_IDENTIFIER != "nodetune" {
				continue
			}
			if strings.HasPrefix(entry.MESSAGE, "<") {
				t.Fatalf("the priority is in the message: %s", entry.MESSAGE)
			}
			for level, priority := range map[string]string{"INFO": "6", "WARN": "4", "ERROR": "3"} {
				if strings.Contains(entry.MESSAGE, "level="+level+" ") && entry.PRIORITY != priority {
					t.Fatalf("priority %s for %s", entry.PRIORITY, entry.MESSAGE)
				}
			}
			priorities = append(priorities, entry.PRIORITY)
		}
		if !slices.Contains(priorities, "6") || !slices.Contains(priorities, "4") {
			return fmt.Errorf("only priorities %q", priorities)
		}
		return nil
	})
	if got := h.run(t, "journalctl -b -u nodetune -p warning"); !strings.Contains(got, "paused") || strings.Contains(got, "nodetune started") {
		t.Errorf("-p warning shows\n%s", got)
	}
}

// podLike is how the DaemonSet's container sees the host: a pid namespace and
// a root of its own, and the host's directories below /host.
const podLike = `mkdir -p /tmp/pod/host/proc /tmp/pod/host/root/run/nodetune /tmp/pod/proc /tmp/pod/usr /tmp/pod/tmp
mount --bind /proc /tmp/pod/host/proc
mount --bind /run/nodetune /tmp/pod/host/root/run/nodetune
mount --bind /usr /tmp/pod/usr
mount --bind /usr/local /tmp/pod/usr/local
for l in bin lib lib64 sbin; do [ -e /usr/$l ] && ln -sfn usr/$l /tmp/pod/$l; done
mount -t proc proc /tmp/pod/proc
exec chroot /tmp/pod setpriv --bounding-set=-all,+sys_ptrace,+dac_read_search --inh-caps=-all --no-new-privs \
	/usr/local/bin/nodetune run --log.format=json --path.procfs=/host/proc --path.rootfs=/host/root --web.listen-address=127.0.0.1:9410`

// pod starts an agent on h as the DaemonSet would; its output grows in out.
func (h *host) pod(t *testing.T) (cmd *exec.Cmd, out string) {
	t.Helper()
	cmd = h.command("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", podLike)
	out = filepath.Join(t.TempDir(), "pod.log")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, out
}

// The agent that starts second reports that, ends, and changes nothing; the first continues.
func TestBesideDaemonSet(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.boot(t)
	h.install(t)
	pid := h.show(t, "nodetune", "MainPID")
	pod, out := h.pod(t)
	var exit *exec.ExitError
	if err := pod.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("beside the unit a pod's agent ended with %v, want exit code 1", err)
	}
	if b, err := os.ReadFile(out); err != nil || !strings.Contains(string(b), "another nodetune holds") {
		t.Errorf("it said (%v)\n%s", err, b)
	}
	if got := h.show(t, "nodetune", "MainPID"); got != pid {
		t.Errorf("the unit's agent is pid %s, was %s", got, pid)
	}

	h.run(t, "systemctl stop nodetune")
	lower(t)
	_, out = h.pod(t)
	cluster.Eventually(t, "the pod's agent holds the floor", func(context.Context) error {
		b, err := os.ReadFile(key)
		if err == nil && strings.TrimSpace(string(b)) != "8192" {
			log, _ := os.ReadFile(out)
			err = fmt.Errorf("%s is %s; the pod says\n%s", key, b, log)
		}
		return err
	})
	if text, err := h.command("systemctl", "start", "nodetune").CombinedOutput(); err == nil {
		t.Errorf("the unit starts beside a pod's agent: %s", text)
	}
	time.Sleep(6 * time.Second) // RestartSec is 5s
	for property, value := range map[string]string{"ActiveState": "failed", "NRestarts": "0", "ExecMainStatus": "1"} {
		if got := h.show(t, "nodetune", property); got != value {
			t.Errorf("%s of the second is %s, want %s", property, got, value)
		}
	}
	if log := h.run(t, "journalctl -b -u nodetune -p err -o cat"); !strings.Contains(log, "another nodetune holds /run/nodetune/agent") {
		t.Errorf("as an error the journal has only\n%s", log)
	}
	// The one-shot shares the lock of a pass, and finds nothing to do.
	h.run(t, "systemctl restart nodetune-apply")
	want(t, "8192")
}

// attempts are what a process of the units may not do, and a shell can.
var attempts = []struct{ what, try string }{
	{"write /etc", "touch /etc/x"},
	{"write /usr/local", "touch /usr/local/bin/x"},
	{"write /var", "touch /var/lib/x"},
	{"see /root", "ls /root/nodetune"},
	{"see another's /tmp", "cat /tmp/secret"},
	{"say what runs as the core pattern", "cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern"},
	{"overcommit memory", "cat /proc/sys/vm/overcommit_memory >/proc/sys/vm/overcommit_memory"},
	{"mount", "mount -t tmpfs x /mnt"},
	{"unshare", "unshare --uts true"},
	{"name the host", "hostname x"},
	{"make a device", "mknod /run/nodetune/sda b 8 0"},
	{"read the kernel's log", "dmesg --syslog"},
	{"make a setuid program", "cp /bin/true /run/nodetune/true; chmod u+s /run/nodetune/true"},
	{"make a cgroup", "mkdir /sys/fs/cgroup/systemd/x || mkdir /sys/fs/cgroup/x"},
	{"ask the kernel for routes", "ip link"},
	{"trace", "strace -o /dev/null true"},
	{"give a file away", "touch /run/nodetune/x; chown 1 /run/nodetune/x"},
	{"become another user", "setpriv --reuid 1 --clear-groups true"},
}

// The unit names what is tolerated. /run is mounted nosuid by a systemd that
// mounts it.
const tolerated = "nodetune can make a setuid program"

// allowed are what they must be able to do.
var allowed = []struct{ what, try string }{
	{"raise a limit", "cat " + key + " >" + key},
	{"raise vm.max_map_count", "cat /proc/sys/vm/max_map_count >/proc/sys/vm/max_map_count"},
	{"raise kernel.pid_max", "cat /proc/sys/kernel/pid_max >/proc/sys/kernel/pid_max"},
	{"keep state", "touch /run/nodetune/x"},
	{"see processes", "test -d /proc/1"},
}

// The directives of the units hold: a shell with them cannot do what the same
// shell without them can.
func TestSandboxing(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.boot(t)
	h.install(t)
	h.run(t, "echo x >/tmp/secret")
	var script strings.Builder
	for _, a := range append(slices.Clone(attempts), allowed...) {
		fmt.Fprintf(&script, "(%s) >/dev/null 2>&1 && echo \"can %s\"\n", a.try, a.what)
	}
	h.write(t, "usr-probe", script.String())
	h.run(t, "mkdir -p /mnt; mv /usr-probe /usr/local/bin/probe")
	probe := func(name, text string) string {
		h.write(t, "etc/systemd/system/"+name, text)
		h.run(t, "systemctl daemon-reload; systemctl start "+name)
		return h.run(t, "journalctl -b -o cat -u "+name) + "\n"
	}
	free := probe("probe-free.service", "[Service]\nType=oneshot\nRuntimeDirectory=nodetune\nRuntimeDirectoryPreserve=yes\nExecStart=-/bin/sh /usr/local/bin/probe\nExecStopPost=/bin/rm -rf /etc/x /usr/local/bin/x /var/lib/x /run/nodetune/sda /run/nodetune/true /run/nodetune/x\n")
	h.run(t, "umount /mnt || true; hostname "+sandbox.Hostname)
	for _, a := range append(slices.Clone(attempts), allowed...) {
		if !strings.Contains(free, "can "+a.what+"\n") {
			t.Errorf("without directives a shell cannot %s, so the units prove nothing", a.what)
		}
	}
	for _, unit := range []string{"nodetune-apply", "nodetune"} {
		b, err := os.ReadFile(filepath.Join(deploy, "systemd", unit+".service"))
		if err != nil {
			t.Fatal(err)
		}
		// The unit, but that it runs the shell once.
		text := regexp.MustCompile(`(?m)^(ExecStart|ExecReload|Type|Restart|RestartPreventExitStatus|WatchdogSec|RemainAfterExit)=.*\n`).ReplaceAllString(string(b), "")
		text = strings.Replace(text, "[Service]\n", "[Service]\nType=oneshot\nExecStart=-/bin/sh /usr/local/bin/probe\n", 1)
		got := probe("probe-"+unit+".service", text)
		for _, a := range attempts {
			if strings.Contains(got, "can "+a.what+"\n") && unit+" can "+a.what != tolerated {
				t.Errorf("%s can %s", unit, a.what)
			}
		}
		for _, a := range allowed {
			if !strings.Contains(got, "can "+a.what+"\n") {
				t.Errorf("%s cannot %s", unit, a.what)
			}
		}
		score := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(h.run(t, "systemd-analyze security --no-pager "+unit))
		if score == nil {
			t.Fatalf("systemd-analyze security says nothing of %s", unit)
		}
		exposure, err := strconv.ParseFloat(score[1], 64)
		if err != nil || exposure > 3 {
			t.Errorf("%s has an exposure of %s (%v), want 3 at most", unit, score[1], err)
		}
		t.Logf("systemd-analyze security %s: %s", unit, score[1])
	}
	status := h.run(t, "cat /proc/"+h.show(t, "nodetune", "MainPID")+"/status")
	for _, line := range []string{"CapBnd:\t0000000000080004", "CapEff:\t0000000000080004", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, line) {
			t.Errorf("the agent's status lacks %q:\n%s", line, status)
		}
	}
}

// report waits until the agent of h has reported what ok accepts.
func (h *host) report(t *testing.T, report any, ok func() error) {
	t.Helper()
	cluster.Eventually(t, "the agent's report", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:9409/report", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(report); err != nil {
			return err
		}
		return ok()
	})
}

// The agent of the unit sees what root's shell sees.
func TestSees(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.boot(t)
	h.install(t)
	var unit, shell struct {
		Inotify struct {
			Processes []struct{ Comm, Quality string }
			Unknown   []struct{ What, Why string }
		}
		Disk struct{ Filesystems []struct{ Path string } }
	}
	h.report(t, &unit, func() error {
		if len(unit.Disk.Filesystems) == 0 || len(unit.Inotify.Processes) == 0 {
			return errors.New("no first pass yet")
		}
		return nil
	})
	// A shell's root also has CAP_BPF, with which one sees beyond /proc.
	h.write(t, "etc/procfs.yaml", "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\ninotify: {kernelCounters: false}\n")
	out, err := h.command("nodetune", "check", "-o", "json", "--config", "/etc/procfs.yaml").Output()
	if e := json.Unmarshal(out, &shell); e != nil {
		t.Fatalf("%v %v: %s", err, e, out)
	}
	for _, u := range unit.Inotify.Unknown {
		if strings.Contains(u.Why, "not implemented") || strings.Contains(u.Why, "not permitted") || strings.Contains(u.Why, "denied") {
			t.Errorf("a directive keeps the agent from %s: %s", u.What, u.Why)
		}
	}
	if !slices.Equal(unit.Inotify.Processes, shell.Inotify.Processes) {
		t.Errorf("the unit's agent sees the processes %v, a shell %v", unit.Inotify.Processes, shell.Inotify.Processes)
	}
	if !slices.Equal(unit.Disk.Filesystems, shell.Disk.Filesystems) {
		t.Errorf("the unit's agent sees the filesystems %v, a shell %v", unit.Disk.Filesystems, shell.Disk.Filesystems)
	}
}

// With its drop-in the unit's agent reads the kernel's own counters, within the
// same sandbox.
func TestKernelCounters(t *testing.T) {
	lower(t)
	h := newHost(t)
	h.boot(t)
	h.install(t)
	source := func(want, holders string) {
		t.Helper()
		var r struct {
			Inotify struct {
				Source        string
				HoldersSource string `json:"holders_source"`
				Unknown       []struct{ What, Why string }
			}
		}
		h.report(t, &r, func() error {
			if r.Inotify.Source == "" {
				return errors.New("no first pass yet")
			}
			return nil
		})
		if r.Inotify.Source != want || r.Inotify.HoldersSource != holders {
			t.Errorf("counts are from %s and %s, want %s and %s: %+v", r.Inotify.Source, r.Inotify.HoldersSource, want, holders, r.Inotify.Unknown)
		}
	}
	source("procfs", "procfs")
	conf, err := os.ReadFile(filepath.Join(deploy, "systemd/bpf.conf"))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "etc/systemd/system/nodetune.service.d/bpf.conf", string(conf))
	h.run(t, "systemctl daemon-reload; systemctl restart nodetune")
	source("ebpf", "ebpf_walk")
	status := h.run(t, "cat /proc/"+h.show(t, "nodetune", "MainPID")+"/status")
	for _, line := range []string{"CapEff:\t000000c000080004", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, line) {
			t.Errorf("the agent's status lacks %q:\n%s", line, status)
		}
	}
}
