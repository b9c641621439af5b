package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nodetune/nodetune/internal/privtest"
	"github.com/nodetune/nodetune/reporter"
	"github.com/nodetune/nodetune/sysctl"
	"github.com/nodetune/nodetune/sysctl/guard"
)

const guardKey = "fs.inotify.max_user_instances"

// guardedAgent starts the program with a guard of this mode, and waits until it is
// attached and the floor of 8192 holds.
func guardedAgent(t *testing.T, rootfs, yaml, mode string) *agentProcess {
	t.Helper()
	addr := freeAddress(t)
	s := startProcess(t, addr, build(t), "run", "--config", configured(t, yaml), "--path.rootfs", rootfs, "--web.listen-address", addr)
	s.until("the guard is attached", func() bool { return s.metric(fmt.Sprintf("nodetune_sysctl_guard{mode=%q} 1", mode)) })
	s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })
	return s
}

// programIDs lists the programs at the cgroup root.
func programIDs(t *testing.T) []uint32 {
	t.Helper()
	all, err := guard.Programs("/sys/fs/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for _, p := range all {
		ids = append(ids, p.ID)
	}
	return ids
}

func lower(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(instancesFile, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// lineWith returns the first line of s that has each of want.
func lineWith(s string, want ...string) string {
	for line := range strings.Lines(s) {
		if !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(line, w) }) {
			return line
		}
	}
	return ""
}

// TestGuardObserves: a floor that another process lowers is raised again within
// milliseconds, three times; then the key is contested. The process is named.
func TestGuardObserves(t *testing.T) {
	untouched(t)
	before := programIDs(t)
	rootfs, err := os.MkdirTemp("/dev/shm", "nodetune") // like /run, where each write is recorded before it is made
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(rootfs) })
	privtest.Set(t, "fs.epoll.max_user_watches", "524288") // put back at the end
	s := guardedAgent(t, rootfs, "", "observe")
	if got := s.series(`nodetune_sysctl_writes_observed_total{direction="lowered",key="` + guardKey + `"}`); got != 0 {
		t.Errorf("before any write the counter is %v, want 0", got)
	}
	// One that raises a key is recorded, and left alone.
	privtest.Set(t, "fs.inotify.max_queued_events", "131072")
	var took []time.Duration
	for range 3 {
		for _, key := range []string{guardKey, "fs.inotify.max_user_watches", "fs.epoll.max_user_watches"} {
			file := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
			floor := privtest.Get(t, key)
			if err := os.WriteFile(file, []byte("128"), 0); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for !holds(file, floor) {
				if time.Since(began) > 10*time.Second {
					t.Fatalf("%s is not raised to %s within 10 s; before it took %v\n%s", key, floor, took, s.log)
				}
				time.Sleep(50 * time.Microsecond)
			}
			took = append(took, time.Since(began))
			time.Sleep(50 * time.Millisecond) // passes that look again have ended
		}
	}
	t.Logf("raised again after %v", took)
	slices.Sort(took)
	// Alone on the machine the median is a few milliseconds. The bound is generous, since
	// other work delays the agent as well as this process. It still fails where only
	// the next pass raises the key again, which takes seconds.
	if median := took[len(took)/2]; median > 500*time.Millisecond {
		t.Errorf("raised again after a median of %v, want at most 500 ms: %v", median, took)
	}
	lower(t, "128")
	s.until("the key is contested", func() bool { return s.metric(`nodetune_sysctl_contested{key="` + guardKey + `"} 1`) })
	time.Sleep(300 * time.Millisecond)
	if !holds(instancesFile, "128") {
		t.Error("it is raised a fourth time at once")
	}
	writer := fmt.Sprintf("cli.test[%d]", os.Getpid())
	by := "lowered 4 times in the last hour by " + writer
	s.until("it has counted the writes", func() bool {
		return s.metric(`nodetune_sysctl_writes_observed_total{direction="lowered",key="` + guardKey + `"} 4`)
	})
	s.until("the condition names the writer", func() bool {
		s.hup()
		return lineWith(s.log.String(), "msg=condition", "SysctlDrift", writer) != ""
	})
	if lineWith(s.log.String(), `msg="another program wrote a sysctl below its floor"`, "to=128", "process="+writer) == "" {
		t.Errorf("the log does not name %s:\n%s", writer, s.log)
	}
	var doc reporter.Document
	report := func() *sysctl.PassResult {
		_, body := s.get("/report")
		doc = reporter.Document{}
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Sysctl
	}
	s.until("the report has the writes", func() bool {
		o := report()
		return o.Guard == "observe" && o.GuardReason == "" && o.ObservedWrites.LoweredBy(guardKey, time.Now()) == by
	})
	i := slices.IndexFunc(report().ObservedWrites, func(w sysctl.ObservedWrite) bool { return w.Key == sysctl.MaxQueuedEvents })
	if i < 0 || report().ObservedWrites[i].BelowFloor || report().ObservedWrites[i].Direction() != "raised" || privtest.Get(t, "fs.inotify.max_queued_events") != "131072" {
		t.Errorf("a raise is not left alone: %+v", report().ObservedWrites)
	}
	if i := slices.IndexFunc(report().Rules, func(r sysctl.Status) bool { return r.Key == guardKey }); !strings.Contains(report().Rules[i].Reason, writer) {
		t.Errorf("the reason of the contested key does not name the writer: %s", report().Rules[i].Reason)
	}
	for _, args := range [][]string{{"explain", guardKey}, {"explain", guardKey, "-o", "json"}} {
		out, err := exec.CommandContext(t.Context(), build(t), append(args, "--path.rootfs", rootfs)...).CombinedOutput()
		if !strings.Contains(string(out), by) {
			t.Errorf("%v (%v): want %q in\n%s", args, err, by, out)
		}
	}
	out, _ := exec.CommandContext(t.Context(), build(t), "check", "-o", "json", "--path.rootfs", rootfs).Output()
	doc = reporter.Document{}
	if err := json.Unmarshal(out, &doc); err != nil || doc.Sysctl.Guard != "observe" || doc.Sysctl.GuardPrograms != nil || len(doc.Sysctl.ObservedWrites) == 0 {
		t.Errorf("check (%v) has %+v", err, doc.Sysctl)
	}
	// A second agent attaches nothing.
	if again, err := exec.CommandContext(t.Context(), build(t), "run", "--path.rootfs", rootfs, "--web.listen-address", freeAddress(t)).CombinedOutput(); err == nil || len(programIDs(t)) != len(before)+1 {
		t.Errorf("beside a second agent %v are attached, before the first were %v; it ends with %v\n%s", programIDs(t), before, err, again)
	}
	_ = s.cmd.Process.Kill()
	_ = s.stop()
	if now := programIDs(t); !slices.Equal(now, before) {
		t.Errorf("after a kill -9 %v are attached, before were %v", now, before)
	}
	if out, _ = exec.CommandContext(t.Context(), build(t), "check", "-o", "json", "--path.rootfs", rootfs).Output(); strings.Contains(string(out), `"guard": "observe"`) {
		t.Error("check reports a guard that has ended")
	}
}

// TestGuardHolds: no read meets a value below the floor, and the writer gets no
// error. A pause ends that, and a rule that says exactly may be overwritten.
func TestGuardHolds(t *testing.T) {
	untouched(t)
	rootfs := t.TempDir()
	before := programIDs(t)
	s := guardedAgent(t, rootfs, "sysctl:\n  guard: hold\n  rules: [{key: fs.inotify.max_queued_events, exactly: 32768, allowLower: true}]\n", "hold")
	for range 2000 {
		lower(t, "128")
		if !holds(instancesFile, "8192") {
			t.Fatalf("the limit is %s", privtest.Get(t, guardKey))
		}
	}
	lower(t, "9000")
	if !holds(instancesFile, "9000") {
		t.Error("a raise does not take effect")
	}
	lower(t, "8192")
	s.until("the writes are counted as held", func() bool {
		return s.metric(`nodetune_sysctl_writes_held_total{key="` + guardKey + `"} 2000`)
	})
	s.until("the condition is met, and names the writer", func() bool {
		_, body := s.get("/report")
		var doc reporter.Document
		return json.Unmarshal([]byte(body), &doc) == nil && strings.Contains(doc.Sysctl.ObservedWrites.LoweredBy(guardKey, time.Now()), "the guard held the floor")
	})
	if lineWith(s.log.String(), "type=SysctlDrift", "status=True") != "" {
		t.Errorf("held writes move the condition:\n%s", s.log)
	}
	// The rule has no floor, so the write takes effect, and the next pass sets it.
	s.until("the exact value holds", func() bool { return privtest.Get(t, "fs.inotify.max_queued_events") == "32768" })
	if err := os.WriteFile("/proc/sys/fs/inotify/max_queued_events", []byte("100"), 0); err != nil {
		t.Fatal(err)
	}
	s.until("the exact value holds again", func() bool { return privtest.Get(t, "fs.inotify.max_queued_events") == "32768" })
	put(t, filepath.Join(rootfs, "run/nodetune/pause"), "")
	s.until("a pause ends the hold", func() bool { return s.metric(`nodetune_sysctl_guard{mode="observe"} 1`) })
	lower(t, "128")
	if !holds(instancesFile, "128") {
		t.Error("while nodetune is paused, a write has no effect")
	}
	if err := os.Remove(filepath.Join(rootfs, "run/nodetune/pause")); err != nil {
		t.Fatal(err)
	}
	s.until("it holds again", func() bool { return s.metric(`nodetune_sysctl_guard{mode="hold"} 1`) })
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if now := programIDs(t); !slices.Equal(now, before) {
		t.Errorf("after the end %v are attached, before were %v", now, before)
	}
	lower(t, "128")
	if !holds(instancesFile, "128") {
		t.Error("after the end a write has no effect")
	}
}

// TestGuardOff: without a capability, or where the configuration says so, the
// settings are read as before, and one line says why.
func TestGuardOff(t *testing.T) {
	untouched(t)
	for name, tt := range map[string]struct {
		yaml, caps string
		says       []string
	}{
		"configured":    {"sysctl: {guard: off}\n", "", []string{"sysctl.guard is off"}},
		"no capability": {"", "net_admin,sys_admin", []string{"the sysctl guard is off", "CAP_NET_ADMIN"}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := freeAddress(t)
			argv := []string{build(t), "run", "--config", configured(t, tt.yaml), "--path.rootfs", t.TempDir(), "--web.listen-address", addr}
			if tt.caps != "" {
				drop := "-" + strings.ReplaceAll(tt.caps, ",", ",-")
				argv = append([]string{"setpriv", "--bounding-set", drop, "--inh-caps", drop}, argv...)
			}
			before := programIDs(t)
			s := startProcess(t, addr, argv...)
			s.until("it is off", func() bool { return s.metric(`nodetune_sysctl_guard{mode="off"} 1`) })
			s.until("the floor holds", func() bool { return holds(instancesFile, "8192") })
			_, body := s.get("/report")
			for _, w := range tt.says {
				s.until("the log says "+w, func() bool { return strings.Contains(s.log.String(), w) })
			}
			if !strings.Contains(body, `"guard": "off"`) {
				t.Errorf("the report has no guard that is off")
			}
			s.until("the report says why", func() bool {
				_, body := s.get("/report")
				return lineWith(body, `"guard_reason"`, tt.says[len(tt.says)-1]) != ""
			})
			if now := programIDs(t); !slices.Equal(now, before) {
				t.Errorf("%v are attached, before were %v", now, before)
			}
		})
	}
}
