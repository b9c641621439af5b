package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nodetune/nodetune/inotify/bpf"
	"github.com/nodetune/nodetune/reporter"
)

const tracing = "/sys/kernel/tracing"

// mountTracefs does what systemd does, where there is none.
func mountTracefs(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(tracing + "/events"); err == nil {
		return
	}
	if err := unix.Mount("tracefs", tracing, "tracefs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(tracing, unix.MNT_DETACH) })
}

// instancesOf are those below tracefs of a process.
func instancesOf(t *testing.T, pid string) []string {
	t.Helper()
	found, err := filepath.Glob(tracing + "/instances/nodetune-" + pid + "-*")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// programs are the BPF programs of refusals that are loaded.
func programs(t *testing.T) int {
	t.Helper()
	out, err := exec.Command("bpftool", "prog", "list").CombinedOutput()
	if err != nil {
		t.Fatalf("bpftool: %v\n%s", err, out)
	}
	n := 0
	for _, of := range []string{"init", "old_init", "add_watch"} {
		for _, way := range []string{"fexit", "return", "exit"} {
			n += strings.Count(string(out), " name "+of+"_"+way+" ")
		}
	}
	return n
}

// The log, the metrics and the report show each failed call. Tracing stops when the
// agent ends, and when the configuration switches it off.
func TestSyscallFailuresAreReported(t *testing.T) {
	untouched(t)
	mountTracefs(t)
	bin := build(t)
	for source, more := range map[string]string{
		"ebpf":    "",
		"tracefs": "  kernelCounters: false\n",
	} {
		t.Run(source, func(t *testing.T) {
			const head = "apiVersion: nodetune.io/v1alpha1\nkind: Configuration\nsysctl:\n  rules:\n  - {key: fs.inotify.max_user_instances, atLeast: 128}\ninotify:\n  leakInstances: 1\n"
			cfg := filepath.Join(t.TempDir(), "nodetune.yaml")
			put(t, cfg, head+"  refusals: true\n"+more)
			before := programs(t)
			addr := freeAddress(t)
			s := startProcess(t, addr, bin, "run", "--config", cfg, "--path.rootfs", t.TempDir(), "--web.listen-address", addr)
			pid := strconv.Itoa(s.cmd.Process.Pid)
			s.until("it traces", func() bool { return strings.Contains(s.log.String(), "tracing failed inotify calls") })
			if !strings.Contains(s.log.String(), "source="+source) && !strings.Contains(s.log.String(), `source="`+source) {
				t.Fatal("another source")
			}
			by := growing(t, 70320)
			if have, errno := by(129); have != 128 || errno != 24 {
				t.Fatalf("%d instances, errno %d", have, errno)
			}
			s.until("it is counted", func() bool {
				return s.series(`nodetune_inotify_refusals_total{call="inotify_init1",errno="EMFILE",resource="inotify_instances"}`) >= 1
			})
			s.until("it is logged", func() bool {
				return strings.Contains(s.log.String(), "inotify call failed") && strings.Contains(s.log.String(), "EMFILE, fs.inotify.max_user_instances")
			})
			s.until("it is in the report", func() bool {
				var doc reporter.Document
				_, body := s.get("/report")
				if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Inotify == nil {
					return false
				}
				for _, f := range doc.Inotify.Refusals {
					if f.UID == 70320 && f.Count == 1 && f.Errno == 24 {
						return true
					}
				}
				return false
			})

			put(t, cfg, head+"  refusals: false\n"+more)
			s.hup()
			gone := func() bool { return len(instancesOf(t, pid)) == 0 && programs(t) <= before }
			s.until("it stops when the configuration says so", gone)
			s.until("the report has the reason", func() bool {
				name, reason := refusalsSource(s)
				return name == "off" && reason == "inotify.refusals is false" && s.series(`nodetune_inotify_refusals_traced`) == 0
			})
			put(t, cfg, head+"  refusals: true\n"+more)
			s.hup()
			s.until("it traces again", func() bool { return !gone() })
			if source == "tracefs" {
				_ = s.cmd.Process.Kill()
				_ = s.stop()
				if len(instancesOf(t, pid)) != 1 {
					t.Fatal("killed, it leaves no instance: the test tests nothing")
				}
				s = startProcess(t, addr, bin, "run", "--config", cfg, "--path.rootfs", t.TempDir(), "--web.listen-address", addr)
				s.until("the next one removes what was left", func() bool { return len(instancesOf(t, pid)) == 0 })
				pid = strconv.Itoa(s.cmd.Process.Pid)
				s.until("and makes its own", func() bool { return len(instancesOf(t, pid)) == 1 })
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
			if !gone() {
				t.Errorf("it leaves %q and %d programs", instancesOf(t, pid), programs(t))
			}
		})
	}
}

// refusalsSource returns how the report of an agent has refused calls traced, and why.
func refusalsSource(s *agentProcess) (name, reason string) {
	var doc reporter.Document
	_, body := s.get("/report")
	if err := json.Unmarshal([]byte(body), &doc); err != nil || doc.Inotify == nil {
		return "", ""
	}
	return doc.Inotify.RefusalsSource, doc.Inotify.RefusalsReason
}

// Without a word in the configuration, failed calls are traced where that makes no
// other system call slower, and nowhere else.
func TestRefusalsByDefault(t *testing.T) {
	untouched(t)
	mountTracefs(t)
	bin := build(t)
	types := bpf.NewTypes()
	counter, unavailable := bpf.OpenFailureCounter("/proc", types, bpf.FreeWays()...)
	types.Close()
	want := "off"
	if unavailable == nil {
		way, _ := counter.Way()
		want = "ebpf_" + string(way)
		_ = counter.Close()
	}
	before := programs(t)
	addr := freeAddress(t)
	s := startProcess(t, addr, bin, "run", "--path.rootfs", t.TempDir(), "--web.listen-address", addr)
	s.until("the report has the source", func() bool { name, _ := refusalsSource(s); return name == want })
	name, reason := refusalsSource(s)
	traced := 0.0
	if unavailable == nil {
		traced = 1
	} else if !strings.Contains(reason, "fexit: ") || !strings.Contains(reason, "kprobe_multi: ") || !strings.Contains(reason, "kretprobe: ") {
		t.Errorf("%s has the reason %q", name, reason)
	} else if n := programs(t); n != before {
		t.Errorf("it has loaded %d programs", n-before)
	}
	if got := s.series(`nodetune_inotify_refusals_traced`); got != traced {
		t.Errorf("the metric is %v, want %v", got, traced)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if n := programs(t); n != before {
		t.Errorf("it leaves %d programs", n-before)
	}
}
